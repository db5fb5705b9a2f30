/** `/api/v1/:org/hooks`: REST hooks, as Zapier subscribes. */
import type { FastifyInstance } from 'fastify';
import { sampleEvents } from '../../operations/events/poll.ts';
import { JsonText } from '../body.ts';
import { notFound } from '../problem.ts';
import { route } from '../route.ts';
import { gone, hostOf, named } from '../routes/dialects.ts';
import { isEventType } from '../routes/values.ts';
import { create, remove } from '../routes/webhook-writes.ts';
import { closed, Id, OfOrganization, Organization, Type } from '../schema.ts';
import type { Service } from '../service.ts';

export function addHooks(app: FastifyInstance, service: Service): void {
  const path = '/v1/:org/hooks';
  const tag = 'dialects';
  const creation = {
    summary: 'Subscribe a REST hook',
    params: OfOrganization,
    body: closed({ targetUrl: Type.String(), event: Type.String() }),
    response: { 201: closed({ id: Type.String(), secret: Type.String() }) },
  };
  route(
    app,
    service,
    { method: 'POST', path, tag, schema: creation },
    async ({ tx, organization, body: { targetUrl, event }, reply }) => {
      const fresh = { name: hostOf(targetUrl), target_url: targetUrl, event_types: [event], payload_format: 'flat' };
      const names = { target_url: 'targetUrl', event_types: 'event' };
      const { row, secret } = await named(names, create(tx, organization, fresh, service));
      reply.code(201);
      return { id: row.id, secret };
    },
  );
  const sample = {
    summary: 'The newest events of a type, or a made-up one, as a REST hook gets them',
    params: OfOrganization,
    querystring: closed({ event: Type.String({ maxLength: 128 }) }),
    response: { 200: Type.Array(Type.Any()) },
  };
  route(
    app,
    service,
    { method: 'GET', path: `${path}/sample`, tag, schema: sample },
    async ({ tx, organization, query: { event } }) => {
      if (!isEventType(event)) throw notFound('event');
      return (await sampleEvents(tx, organization, event)).map((text) => new JsonText(text));
    },
  );
  const removal = { summary: 'Unsubscribe', params: Type.Object({ org: Organization, id: Id }), response: gone };
  route(
    app,
    service,
    { method: 'DELETE', path: `${path}/:id`, tag, schema: removal },
    async ({ tx, params, request, reply }) => {
      await remove(tx, params, request);
      reply.code(204);
      return null;
    },
  );
}
