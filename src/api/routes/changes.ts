/** Who changed which setting of which webhook. */
import type { FastifyInstance } from 'fastify';
import { readChanges } from '../../operations/history/changes.ts';
import { route } from '../route.ts';
import { closed, idOf, LIMIT, listOf, OfOrganization, Page, Time, Type } from '../schema.ts';
import type { Service } from '../service.ts';
import { keyOfCursor } from './attempts.ts';

export const Change = closed({
  id: Type.String(),
  changed_at: Time,
  webhook_id: Type.String(),
  webhook_name: Type.String(),
  action: Type.String({ description: 'created, changed or deleted' }),
  changed_by: Type.String(),
  changes: Type.Record(Type.String(), closed({ old: Type.Any(), new: Type.Any() }), {
    description: 'the changed settings; secrets are masked',
  }),
});

export function addChanges(app: FastifyInstance, service: Service): void {
  const schema = {
    summary: 'List changes of webhooks, newest first',
    params: OfOrganization,
    querystring: closed({ ...Page, webhook: Type.Optional(Type.String({ maxLength: 64 })) }),
    response: { 200: listOf(Change) },
  };
  route(
    app,
    service,
    { method: 'GET', path: '/v1/:org/changes', tag: 'changes', schema },
    async ({ tx, organization, query: { limit = LIMIT, cursor, webhook } }) => {
      const id = webhook === undefined ? undefined : idOf({ id: webhook }, 'webhook');
      const page = await readChanges(tx, organization, id, { limit, cursor: keyOfCursor(cursor, 'number') });
      const data = page.data.map(({ changed_at, changes, ...row }) => ({
        ...row,
        changed_at: changed_at.toISOString(),
        // The table has columns, and the API has other names for some.
        changes: Object.fromEntries(
          Object.entries(changes).map(([column, change]) => [column === 'url' ? 'target_url' : column, change]),
        ),
      }));
      return { data, next_cursor: page.next_cursor };
    },
  );
}
