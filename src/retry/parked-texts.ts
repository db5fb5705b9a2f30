/**
 * The texts that people wrote in parked deliveries. They are read separately if the statement fails
 * that reads everything. A delivery whose texts cannot be read carries the reason, and all others
 * are sent.
 */
import type pg from 'pg';
import { isolate, readColumns } from '../shared/isolate.ts';
import type { BareRow } from './parked-deliveries.ts';

export interface Texts {
  event_type: string;
  row_key: string | null;
  organization: string;
  webhook_name: string;
  data: string | null;
  previous: string | null;
  /** Why some texts cannot be read. These texts are empty. */
  unreadable?: string;
}

const COLUMNS: readonly (readonly [column: string, expression: string])[] = [
  ['event_type', 'd.event_type'],
  ['row_key', 'd.row_key'],
  ['organization', 'd.organization::text'],
  ['webhook_name', 'd.webhook_name'],
  ['data', 'coalesce(d.data, o.data)::text'],
  ['previous', 'coalesce(d.previous, o.previous)::text'],
];

const TEXTS = (selected: string) => `
  select d.delivery_id, ${selected}
    from rowhook.webhook_deliveries d
    left join lateral (select o.data, o.previous from rowhook.webhook_outbox o
                        where not d.has_payload
                          and o.id = d.outbox_id
                          and o.tenant_id = d.tenant_id
                        limit 1) as o on true
   where d.delivery_id = any ($1::uuid[])`;
const ALL = TEXTS(COLUMNS.map(([column, expression]) => `${expression} as ${column}`).join(', '));

/** Returns the same rows with their texts. A row that is not due yet needs no texts. */
export async function readTexts<Row extends BareRow>(pool: pg.Pool, rows: readonly Row[]): Promise<(Row & Texts)[]> {
  const isDue = ({ due_in_ms }: Row) => due_in_ms <= 0;
  const found = await isolate(
    rows.filter(isDue).map(({ delivery_id }) => delivery_id),
    async (ids) => (await pool.query<Texts & { delivery_id: string }>(ALL, [ids])).rows,
    async (id) => [{ delivery_id: id, ...(await textsOf(pool, id)) }],
  );
  const texts = new Map(found.map((row) => [row.delivery_id, row]));
  // A delivery that was deleted in the meantime is left out.
  return rows.flatMap((row) => {
    const own = texts.get(row.delivery_id);
    return own ? { ...row, ...own } : isDue(row) ? [] : { ...row, ...NOTHING };
  });
}

const NOTHING: Texts = {
  event_type: '',
  row_key: null,
  organization: '{}',
  webhook_name: '',
  data: null,
  previous: null,
};

async function textsOf(pool: pg.Pool, id: string): Promise<Texts> {
  const { values, problem } = await readColumns(COLUMNS, async (expression) => {
    const { rows } = await pool.query<{ text: string | null }>(TEXTS(`${expression} as text`), [[id]]);
    return rows[0]?.text ?? null;
  });
  const readable = Object.fromEntries([...values].filter(([, text]) => text !== null));
  return { ...NOTHING, ...readable, ...(problem === null ? {} : { unreadable: problem }) };
}
