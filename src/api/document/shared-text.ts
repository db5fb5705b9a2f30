/**
 * The OpenAPI document without a token. It is the same for everybody, so it is written and compressed
 * once: 50 clients that asked for it all the time kept the requests of organizations waiting.
 */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Service } from '../service.ts';

interface Made {
  plain: Buffer;
  gzip: Buffer;
  etag: string;
}

const made = new WeakMap<FastifyInstance, Made>();

function madeOf(app: FastifyInstance): Made {
  const known = made.get(app);
  if (known !== undefined) return known;
  const plain = Buffer.from(JSON.stringify(app.swagger()));
  const etag = `W/"${createHash('sha256').update(plain).digest('base64url').slice(0, 22)}"`;
  const fresh = { plain, gzip: gzipSync(plain), etag };
  made.set(app, fresh);
  return fresh;
}

/** Answers above the limit of the network as well. */
export async function sendShared(
  app: FastifyInstance,
  service: Service,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  await service.countDocument(request);
  const { plain, gzip, etag } = madeOf(app);
  const vary = [reply.getHeader('vary') ?? [], 'accept-encoding'].flat().join(', ');
  reply.headers({ etag, vary }).type('application/json');
  if (namesOf(request.headers['if-none-match']).includes(etag)) return reply.code(304).send();
  if (!acceptsGzip(request.headers['accept-encoding'])) return reply.send(plain);
  return reply.header('content-encoding', 'gzip').send(gzip);
}

const namesOf = (list = '') => list.split(',').map((name) => name.trim());

const REFUSED = /;\s*q=0(\.0*)?$/;

function acceptsGzip(header: string | string[] | undefined): boolean {
  return namesOf([header ?? []].flat().join(',')).some((name) => /^gzip\b/i.test(name) && !REFUSED.test(name));
}
