/** GET /api/openapi.json: the routes of the API, and the webhooks that the caller's organization may get. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { anyWebhook, webhooksOf } from '../catalog/openapi.ts';
import { readCatalog } from '../operations/events/catalog.ts';
import { toProblem } from './problem.ts';
import type { Service } from './service.ts';
import { enter } from './transaction.ts';

/** Without a token, the document says what all webhooks have. */
export function addOpenApiDocument(app: FastifyInstance, service: Service): void {
  app.get('/api/openapi.json', { schema: { hide: true } }, async (request, reply) => {
    const { authorization, 'x-api-key': apiKey } = request.headers;
    const isAnyone = authorization === undefined && apiKey === undefined;
    const webhooks = isAnyone ? anyWebhook() : await webhooksFor(service, request, reply);
    return reply.type('application/json').send({ ...app.swagger(), webhooks });
  });
}

async function webhooksFor(service: Service, request: FastifyRequest, reply: FastifyReply): Promise<object> {
  const credential = await service.credentialOf(request);
  const access = {
    organization: null,
    scopes: ['read', 'operator'] as const,
    readOnly: true,
    address: service.addressOf(request),
  };
  const rows = await enter(service, credential, access, async ({ tx, caller }) => {
    request.caller = caller;
    await service.countRequest(request, reply, credential);
    return readCatalog(tx);
  }).catch((error: unknown) => {
    const problem = toProblem(error);
    if (problem.status === 401) return service.refuse(request, problem);
    throw error;
  });
  return webhooksOf(rows.map((row) => ({ ...row, schema: JSON.parse(row.schema) })));
}
