/** Headers of security, the same for every answer. Routes may replace them. */
import helmet from '@fastify/helmet';
import type { FastifyInstance } from 'fastify';

const OPTIONS = {
  contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  crossOriginResourcePolicy: { policy: 'same-origin' },
} as const;

/** What Fastify itself adds to an answer. */
const NOT_OF_HELMET = ['content-length', 'date', 'connection'];

/**
 * The plugin composes its headers anew for each request, which takes a tenth of the CPU of an
 * inbound event. So it composes them once, in a server of its own (`once`).
 */
export async function protect(app: FastifyInstance, once: FastifyInstance): Promise<void> {
  const headers = await composed(once);
  app.addHook('onRequest', (_, reply, done) => {
    reply.headers(headers);
    done();
  });
}

async function composed(once: FastifyInstance): Promise<Record<string, string>> {
  await once.register(helmet, OPTIONS);
  once.get('/', (_, reply) => reply.send());
  const { headers } = await once.inject('/');
  await once.close();
  const own = Object.entries(headers).filter(([name]) => !NOT_OF_HELMET.includes(name));
  return Object.fromEntries(own.map(([name, value]) => [name, String(value)]));
}
