/** Polling for Zapier and others: GET /api/webhooks/zapier/:resource/poll?since= */
import type { FastifyInstance } from 'fastify';
import { eventTypeOf, notePoll, pollEvents } from '../../operations/events/poll.ts';
import { visitMembers } from '../../shared/json/json-values.ts';
import { JsonText } from '../body.ts';
import { notFound } from '../problem.ts';
import { route } from '../route.ts';
import { isEventType, timeOf } from '../routes/values.ts';
import { closed, Type } from '../schema.ts';
import type { Service } from '../service.ts';

export function addPoll(app: FastifyInstance, service: Service): void {
  const schema = {
    summary: 'Events since a time, newest first, 100 at most, for tools that poll',
    description:
      '`leads` means lead.created, and so on for every prefix and its plural. `lead.updated` means itself. ' +
      'Each element has the fields of payload_format flat, and a unique id: of the row for .created, else of the event. ' +
      'A poll has these events written for 8 days, although no webhook wants them.',
    params: Type.Object({ resource: Type.String() }),
    querystring: closed({
      since: Type.Optional(
        Type.String({ maxLength: 64, description: 'RFC 3339, or seconds or milliseconds since 1970' }),
      ),
    }),
    response: { 200: Type.Array(Type.Any()) },
  };
  route(
    app,
    service,
    // It notes that it wants these events.
    { method: 'GET', path: '/webhooks/zapier/:resource/poll', tag: 'polling', readOnly: false, schema },
    async ({ tx, caller, params: { resource }, query: { since } }) => {
      if (caller.tenantId === null) throw notFound('organization: use a token of one');
      if (!isEventType(resource)) throw notFound('resource');
      const type = await eventTypeOf(tx, resource);
      await notePoll(tx, type);
      const events = await pollEvents(tx, caller.tenantId, type, sinceOf(since));
      return events.map((text) => new JsonText(withUniqueId(text, type.endsWith('.created'))));
    },
  );
}

/** Tools also write a time as a number. */
function sinceOf(text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined;
  if (!/^\d{9,14}$/.test(text)) return timeOf('since', text);
  return new Date(Number(text) * (text.length > 11 ? 1 : 1_000)).toISOString();
}

/**
 * A row of several events has one id, and a tool that has seen an id ignores it. So an event that
 * does not create its row is known by its own id, and the row's becomes data_id. Pure.
 */
export function withUniqueId(flat: string, isOfRow: boolean): string {
  let eventId = '';
  let idAt: number | undefined;
  visitMembers(flat, (name, at, from, to) => {
    if (name === 'webhook_event_id') eventId = flat.slice(from, to).trim();
    if (name === 'id') idAt = at;
  });
  if (isOfRow && idAt !== undefined) return flat;
  const rest = idAt === undefined ? flat : `${flat.slice(0, idAt + 1)}data_${flat.slice(idAt + 1)}`;
  return `{"id":${eventId},${rest.trim().slice(1)}`;
}
