/** GET /api/openapi.json: the routes, and the webhooks that the caller's organization may get. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { EventType } from '../../catalog/payload-schema.ts';
import { readCatalog } from '../../operations/events/catalog.ts';
import { toProblem } from '../problem.ts';
import type { Service } from '../service.ts';
import { tokenOfCookie } from '../sessions/cookie.ts';
import { enter } from '../transaction.ts';
import { withWebhooks } from './document.ts';
import { sendShared } from './shared-text.ts';

const asItIs = (text: string) => text;

/** Without a token, the document says what all webhooks have. */
export function addOpenApiDocument(app: FastifyInstance, service: Service): void {
  app.get('/api/openapi.json', { schema: { hide: true } }, async (request, reply) => {
    const { authorization, 'x-api-key': apiKey } = request.headers;
    const isWithoutHeader = authorization === undefined && apiKey === undefined;
    const isAnyone = isWithoutHeader && tokenOfCookie(request) === null;
    const types = isAnyone
      ? null
      : await typesFor(service, request, reply).catch((error: unknown) => {
          // A browser also sends the cookie of a session that has ended. The page still opens.
          if (isWithoutHeader && toProblem(error).status === 401) return null;
          throw error;
        });
    if (types === null) return sendShared(app, service, request, reply);
    const text = JSON.stringify(withWebhooks(app.swagger(), types));
    return reply.type('application/json').serializer(asItIs).send(text);
  });
}

async function typesFor(service: Service, request: FastifyRequest, reply: FastifyReply): Promise<EventType[]> {
  const credential = await service.credentialOf(request);
  const access = {
    organization: null,
    scopes: ['read', 'operator'] as const,
    readOnly: true,
    address: service.addressOf(request),
  };
  const rows = await enter(service, credential, access, async ({ tx, caller }) => {
    request.caller = caller;
    if (credential.kind === 'key' && caller.keyId !== null) service.noteUsed(caller.keyId);
    reply.headers(await service.countRequest(request));
    return readCatalog(tx);
  }).catch((error: unknown) => {
    const problem = toProblem(error);
    if (problem.status === 401) return service.refuse(request, problem);
    throw error;
  });
  return rows.map(({ schema, sample, ...row }) => ({
    ...row,
    schema: JSON.parse(schema),
    ...(sample !== null && { sample: JSON.parse(sample) }),
  }));
}
