/**
 * Finds filters that name a column which no event of their webhook has. Such a condition usually has
 * a typing error, and then no event passes it. The columns are those of the JSON Schemas in the
 * catalog. An event type whose schema names none may have any column, and so may an event type that
 * the catalog does not have.
 */
import type pg from 'pg';
import { nearNames } from '../shared/spelling.ts';

export interface UnknownFilterColumn {
  id: string;
  tenantId: string;
  name: string;
  eventTypes: string[];
  /** As the filter has it, such as data.statsu. */
  path: string;
  /** A path with a column that the events have, and that differs by one or two letters. */
  near: string | null;
}

/** Limit on paths that get a suggestion. */
const COMPARED_MAX = 100;

export interface Searched {
  /** The view `webhooks` shows a tenant its own. */
  relation?: 'webhook_configurations' | 'webhooks';
  /** One webhook, also if it is switched off. Null: all active webhooks. */
  id?: string | null;
  /**
   * False: webhooks with a delivery in the last week are left out. Their application may emit
   * events that no catalog describes.
   */
  countReceiving?: boolean;
}

export async function readUnknownFilterColumns(
  client: pg.ClientBase,
  { relation = 'webhook_configurations', id = null, countReceiving = true }: Searched = {},
): Promise<UnknownFilterColumn[]> {
  const { rows: conditions } = await client.query<Omit<UnknownFilterColumn, 'near'>>(
    `select c.id, c.tenant_id as "tenantId", c.name, c.event_types as "eventTypes", k.path
       from rowhook.${relation} c
      cross join lateral (
              select distinct m.member ->> 'key' as path
                from jsonb_path_query(c.filter, '$.** ? (@.type() == "object").keyvalue()') as m (member)
               where m.member ->> 'key' ~ '^(data|previous)[.]') as k
      where c.filter is not null and case when $1::uuid is null then c.is_active else c.id = $1 end
        and ($2 or not exists (
               select from rowhook.webhook_logs l
                where l.tenant_id = c.tenant_id and l.webhook_id = c.id and l.status = 'success'
                  and l.attempted_at > now() - interval '7 days'))
      order by c.tenant_id, c.name, c.id, k.path`,
    [id, countReceiving],
  );
  if (conditions.length === 0) return [];
  const columns = columnsByPattern(await readSchemas(client));
  return conditions
    .map((row) => ({ row, known: row.eventTypes.flatMap((pattern) => columns(pattern)) }))
    .filter(({ row, known }) => !known.includes(ANY) && !known.includes(columnOf(row.path)))
    .map(({ row, known }, index) => ({ ...row, near: index < COMPARED_MAX ? nearPath(row.path, known) : null }));
}

/** Stands for columns that the catalog does not have. No column has this name. */
const ANY = '';

interface Schema {
  properties?: unknown;
  anyOf?: unknown;
}

async function readSchemas(client: pg.ClientBase): Promise<{ eventType: string; schema: Schema }[]> {
  const { rows } = await client.query<{ eventType: string; schema: Schema }>(
    'select event_type as "eventType", schema from rowhook.event_types',
  );
  return rows;
}

/** The columns of the event types that a pattern stands for. */
function columnsByPattern(types: readonly { eventType: string; schema: Schema }[]): (pattern: string) => string[] {
  const found = new Map<string, string[]>();
  return (pattern) => {
    const before = found.get(pattern);
    if (before !== undefined) return before;
    const prefix = pattern.endsWith('*') ? pattern.slice(0, -1) : undefined;
    const wanted = types.filter(({ eventType }) =>
      prefix === undefined ? eventType === pattern : eventType.startsWith(prefix),
    );
    const columns = wanted.length === 0 ? [ANY] : [...new Set(wanted.flatMap(({ schema }) => columnsIn(schema)))];
    found.set(pattern, columns);
    return columns;
  };
}

/** Two tables may produce one event type: its data then have the columns of either. */
function columnsIn({ properties, anyOf }: Schema): string[] {
  if (Array.isArray(anyOf)) return anyOf.flatMap((schema: Schema) => columnsIn(schema));
  const names = typeof properties === 'object' && properties !== null ? Object.keys(properties) : [];
  return names.length > 0 ? names : [ANY];
}

const columnOf = (path: string) => path.split('.')[1] ?? '';

function nearPath(path: string, known: readonly string[]): string | null {
  const [root = '', column = '', ...rest] = path.split('.');
  const [near] = nearNames(column, known, 1);
  return near === undefined ? null : [root, near, ...rest].join('.');
}

/** Such as "data.statsu, which no known event of order.* has. Did you mean data.status?" */
export function unknownColumnText({ path, eventTypes, near }: UnknownFilterColumn): string {
  const maybe = near === null ? '' : `. Did you mean ${near}?`;
  return `${path}, which no known event of ${eventTypes.join(', ')} has${maybe}`;
}
