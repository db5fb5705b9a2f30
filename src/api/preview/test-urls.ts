/** Test URLs: whoever has no receiver yet sees here what a webhook sends. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { createTestUrl, keepTestRequest, readTestUrl, type TestUrl } from '../../operations/test-urls.ts';
import { networkOf } from '../network.ts';
import { notFound, Problem } from '../problem.ts';
import { route } from '../route.ts';
import { closed, nullable, OfOrganization, Organization, Time, Type } from '../schema.ts';
import type { Service } from '../service.ts';
import { baseUrl } from '../sessions/portal-links.ts';
import { turnOfNetwork } from '../turnstile.ts';

const tag = 'outgoing webhooks';
const PATH = '/v1/:org/test-urls';

/** Of a body. It is shown to people. */
const KEPT_MAX = 100_000;
const HEADER_LENGTH_MAX = 2_000;

const Created = closed({
  id: Type.String({ description: 'tst_…' }),
  url: Type.String({ description: 'the target_url of a webhook that is tried' }),
  expires_at: Time,
});

const Read = closed({
  ...Created.properties,
  requests: Type.Array(
    closed({
      id: Type.String(),
      received_at: Time,
      method: Type.String(),
      headers: Type.Record(Type.String(), Type.String()),
      body: Type.String({ description: 'its beginning, as text' }),
      body_bytes: Type.Integer({ description: 'the length of the whole body' }),
      remote_ip: nullable(Type.String()),
    }),
    { description: 'the newest 50, newest first' },
  ),
});

export function addTestUrls(app: FastifyInstance, service: Service): void {
  const json = ({ id, expires_at }: TestUrl, request: FastifyRequest) => ({
    id,
    url: `${baseUrl(request, service).replace(/\/$/, '')}/api/test-urls/${id}`,
    expires_at: expires_at.toISOString(),
  });
  const create = {
    summary: 'Make a URL that shows what is sent to it, for an hour',
    params: OfOrganization,
    response: { 201: Created },
  };
  route(
    app,
    service,
    { method: 'POST', path: PATH, tag, schema: create },
    async ({ tx, organization, request, reply }) => {
      const made = await createTestUrl(tx, organization);
      reply.code(201);
      return json(made, request);
    },
  );

  const read = {
    summary: 'Read what was sent to a test URL',
    params: Type.Object({ org: Organization, id: Type.String({ description: 'tst_…' }) }),
    response: { 200: Read },
  };
  route(app, service, { method: 'GET', path: `${PATH}/:id`, tag, schema: read }, async ({ tx, params, request }) => {
    const found = isTestUrl(params.id) ? await readTestUrl(tx, params.id) : undefined;
    if (found === undefined) throw notFound('test URL');
    const requests = found.requests.map((each) => ({ ...each, received_at: each.received_at.toISOString() }));
    return { ...json(found, request), requests };
  });
  receive(app, service);
}

const isTestUrl = (id: string) => /^tst_[A-Za-z0-9]{24}$/.test(id);

/** Anybody who knows the URL may send. Any body is text here. */
function receive(app: FastifyInstance, service: Service): void {
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_, body, done) => done(null, body));
    scope.route<{ Params: { id: string } }>({
      url: '/api/test-urls/:id',
      method: ['POST', 'PUT', 'PATCH'],
      schema: { hide: true },
      handler: async (request) => {
        const { id } = request.params;
        if (!isTestUrl(id)) throw ended();
        await service.countTestRequest(request);
        const place = await service.turnstile.pass(turnOfNetwork(networkOf(request.ip)));
        const isKept = await keepTestRequest(service.pool, id, keptOf(request, service)).finally(place.leave);
        if (!isKept) throw ended();
        return { received: true };
      },
    });
  });
}

const ended = () =>
  new Problem('not_found', 'This test URL has ended: it is kept for an hour. Make another one in the console.');

function keptOf(request: FastifyRequest, service: Service) {
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const headers = Object.entries(request.headers).map(([name, value]) => [
    name,
    storable(String(value)).slice(0, HEADER_LENGTH_MAX),
  ]);
  return {
    method: request.method,
    headers: Object.fromEntries(headers) as Record<string, string>,
    body: storable(body.subarray(0, KEPT_MAX).toString()),
    body_bytes: body.length,
    remote_ip: service.addressOf(request),
  };
}

/** PostgreSQL stores no NUL. */
const storable = (text: string) => text.replaceAll('\0', '\ufffd').toWellFormed();
