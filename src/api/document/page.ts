/**
 * /api/docs: the OpenAPI document as a page to read and try. Its scripts, styles and images come
 * from this server, and the page may load nothing from elsewhere.
 */
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Service } from '../service.ts';
import { sendShared } from './shared-text.ts';

const PATH = '/api/docs';

const POLICY = {
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': "'self'",
  'img-src': "'self' data:",
  'connect-src': "'self'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'",
};

export async function addDocs(app: FastifyInstance, service: Service): Promise<void> {
  await app.register(swaggerUi, {
    routePrefix: PATH,
    uiHooks: {
      // The plugin has routes for the document, and would write it again for each request.
      preHandler: async (request: FastifyRequest, reply: FastifyReply) => {
        const { url } = request.routeOptions;
        if (url === `${PATH}/yaml`) await service.countDocument(request);
        return url === `${PATH}/json` ? sendShared(app, service, request, reply) : undefined;
      },
    },
    staticCSP: POLICY,
    theme: { title: 'rowhook: the HTTP API' },
    uiConfig: {
      // Without the bar of Swagger, which asks for another document.
      layout: 'BaseLayout',
      docExpansion: 'list',
      defaultModelsExpandDepth: 0,
      deepLinking: true,
      displayRequestDuration: true,
      // A token stays in the page's memory.
      persistAuthorization: false,
      tryItOutEnabled: false,
    },
  });
}

/** Files of the page: they may be kept, unlike the answers of the API. */
export const isFileOfDocs = (url: string) => url.startsWith(`${PATH}/static/`);
