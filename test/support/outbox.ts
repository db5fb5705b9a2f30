import type { TestDatabase } from './database.ts';

/** One row of webhook_outbox; JSON as the text that is stored. */
export interface Captured {
  eventTypes: string[];
  tenantId: string;
  rowKey: string | null;
  data: string;
  previous: string | null;
  truncated: string | null;
}

interface Row {
  event_types: string[];
  tenant_id: string;
  row_key: string | null;
  data: string;
  previous: string | null;
  truncated: string | null;
}

/** What was captured since the last call, in the order of ids. */
export async function takeChanges(database: TestDatabase): Promise<Captured[]> {
  const rows = await database.query<Row>(`
    with taken as (delete from rowhook.webhook_outbox returning *)
    select event_types, tenant_id, row_key, data::text, previous::text, truncated
      from taken where event_types <> '{}' order by id`);
  return rows.map((row) => ({
    eventTypes: row.event_types,
    tenantId: row.tenant_id,
    rowKey: row.row_key,
    data: row.data,
    previous: row.previous,
    truncated: row.truncated,
  }));
}

/** Each change as one line, for tests that compare many: `deal.updated {"id":1} was {"stage":"new"}`. */
export function lines(changes: readonly Captured[]): string[] {
  return changes.map(
    ({ eventTypes, data, previous }) => `${eventTypes.join(' ')} ${data}${previous === null ? '' : ` was ${previous}`}`,
  );
}
