/**
 * /api/docs: the OpenAPI document as a page to read and try. Its scripts, styles and images come
 * from this server, and the page may load nothing from elsewhere.
 */
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';

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

export async function addDocs(app: FastifyInstance): Promise<void> {
  await app.register(swaggerUi, {
    routePrefix: PATH,
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
