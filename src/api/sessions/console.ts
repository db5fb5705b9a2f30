/** The console: the files that console/ was built into, and its page for every path of the app. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { ServeSettings } from '../../config/settings.ts';
import { Problem } from '../problem.ts';
import { setConsoleHeaders } from './console-headers.ts';
import { refusedSite, sendRefusedFrame } from './refused-frame.ts';

/** Names of assets hold a hash of their content. */
const ASSET_SECONDS = 31_536_000;

/** In a checkout `npm run build` of console/ has made it, in the package it is beside the code. */
export const CONSOLE_FOLDER = import.meta.filename.endsWith('.ts')
  ? join(import.meta.dirname, '../../../console/dist')
  : join(import.meta.dirname, '../../../console');

export async function addConsole(app: FastifyInstance, settings: ServeSettings): Promise<void> {
  await app.register(fastifyStatic, { root: CONSOLE_FOLDER, serve: false, cacheControl: false });
  const send = (reply: FastifyReply, file: string, cacheControl: string) => {
    setConsoleHeaders(reply, settings);
    reply.header('cache-control', cacheControl);
    return reply.sendFile(file);
  };
  const hidden = { schema: { hide: true } };
  const method: ('GET' | 'HEAD')[] = ['GET', 'HEAD'];
  // Not for good: a proxy may give this path to something else later.
  app.route({ url: '/', method, ...hidden, handler: (_, reply) => reply.redirect('/console/', 302) });
  app.route({ url: '/console', method, ...hidden, handler: (_, reply) => reply.redirect('/console/', 308) });
  app.route<{ Params: { '*': string } }>({
    url: '/console/*',
    method,
    ...hidden,
    handler: async (request, reply) => {
      const path = request.params['*'];
      if (path.startsWith('assets/')) return send(reply, path, `public, max-age=${ASSET_SECONDS}, immutable`);
      if (path === 'theme.js' || path === 'favicon.svg') return send(reply, path, 'no-cache');
      if (!existsSync(join(CONSOLE_FOLDER, 'index.html')))
        throw new Problem(
          'not_found',
          'The console is not built here. Run "npm run build -w console" in the checkout.',
        );
      const site = refusedSite(request, settings);
      return site === null ? send(reply, 'index.html', 'no-cache') : sendRefusedFrame(reply, site);
    },
  });
}
