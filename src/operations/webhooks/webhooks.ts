/** Reads and changes webhooks. Returns values only. */
import type pg from 'pg';
import { readUnknownFilterColumns, unknownColumnText } from '../../capture/unknown-filter-columns.ts';
import { maskedUrl } from '../../payload/mask.ts';
import { NotFound } from '../../shared/user-error.ts';
import { tenantNote } from './tenant-note.ts';
import { unlogged } from './unlogged.ts';
import { urlNote } from './url-note.ts';

export interface WebhookRow {
  id: string;
  tenant_id: string;
  name: string;
  url: string;
  http_method: string;
  event_types: string[];
  secret: string;
  is_active: boolean;
  disabled_at: Date | null;
  disabled_reason: string | null;
  created_at: Date;
}

/**
 * The table is for members of rowhook_owner. The view `webhooks` is for tenants: it shows no
 * secret, except to the statement that writes it.
 */
export type Relation = 'webhook_configurations' | 'webhooks';

export function theOne<T>(rows: readonly T[], id: string): T {
  const row = rows[0];
  if (row === undefined) {
    throw new NotFound(`webhook ${id} does not exist. "rowhook webhook list" shows the existing webhooks.`, 'webhook');
  }
  return row;
}

/** True if a daemon holds lanes, so new deliveries are sent at once. */
export async function daemonRuns(client: pg.Client): Promise<boolean> {
  const { rowCount } = await client.query('select from rowhook.webhook_lane_owners limit 1');
  return rowCount === 1;
}

const MASK = '***';

/**
 * Secrets are shown only once, when they are created. Headers, credentials and the values of a
 * URL's query are never shown.
 */
export function withoutSecrets(row: object): Record<string, unknown> {
  const masked = ['secret', 'previous_secret'];
  const maskedValues = ['auth_config', 'headers'];
  return Object.fromEntries(
    Object.entries(row).map(([column, value]) => {
      if (masked.includes(column)) return [column, value === null ? null : MASK];
      if (column === 'url') return [column, maskedUrl(String(value))];
      if (!maskedValues.includes(column)) return [column, value];
      return [column, Object.fromEntries(Object.keys(value ?? {}).map((key) => [key, MASK]))];
    }),
  );
}

/** Columns to set, and their values. */
export type Columns = readonly [column: string, value: unknown][];

export async function insertWebhook(
  client: pg.ClientBase,
  columns: Columns,
  relation: Relation = 'webhook_configurations',
): Promise<WebhookRow> {
  const { rows } = await unlogged<WebhookRow>(
    client,
    `insert into rowhook.${relation} (${columns.map(([column]) => column).join(', ')})
     values (${columns.map((_, index) => `$${index + 1}`).join(', ')})
     returning *`,
    columns.map(([, value]) => value),
  );
  return rows[0] as WebhookRow;
}

/** Reasons why a new webhook may get no events. */
export async function notesOn(client: pg.ClientBase, webhook: WebhookRow): Promise<string[]> {
  const notes = [await tenantNote(client, webhook), urlNote(webhook.url)].filter((note) => note !== null);
  return [...notes, ...(await filterNotes(client, webhook.id))];
}

/** Columns that the filter of a webhook names and its events do not have. */
export async function filterNotes(client: pg.ClientBase, id: string, relation?: Relation): Promise<string[]> {
  const found = await readUnknownFilterColumns(client, relation === undefined ? { id } : { id, relation });
  return found.map((column) => `the filter names ${unknownColumnText(column)}${column.near === null ? '.' : ''}`);
}

export async function changeWebhook(
  client: pg.ClientBase,
  id: string,
  columns: Columns,
  relation: Relation = 'webhook_configurations',
): Promise<WebhookRow> {
  const { rows } = await unlogged<WebhookRow>(
    client,
    `update rowhook.${relation}
        set ${columns.map(([column], index) => `${column} = $${index + 2}`).join(', ')}
      where id = $1
  returning *`,
    [id, ...columns.map(([, value]) => value)],
  );
  return theOne(rows, id);
}

/** Reads the webhooks of one tenant, or of all tenants. */
export async function readWebhooks(
  client: pg.Client,
  tenant: string | undefined,
  rowsMax: number,
): Promise<WebhookRow[]> {
  const { rows } = await client.query<WebhookRow>(
    `select * from rowhook.webhook_configurations
      where $1::text is null or tenant_id = $1
      order by tenant_id, created_at, id
      limit $2`,
    [tenant, rowsMax],
  );
  return rows;
}

export async function findWebhook(client: pg.Client, id: string): Promise<WebhookRow> {
  const { rows } = await client.query<WebhookRow>('select * from rowhook.webhook_configurations where id = $1', [id]);
  return theOne(rows, id);
}

export async function removeWebhook(
  client: pg.ClientBase,
  id: string,
  relation: Relation = 'webhook_configurations',
): Promise<WebhookRow> {
  const { rows } = await client.query<WebhookRow>(`delete from rowhook.${relation} where id = $1 returning *`, [id]);
  return theOne(rows, id);
}

/**
 * Resolves to the webhook before and after the change. A webhook that rowhook disabled becomes one
 * that was switched off by hand.
 */
export async function setActive(
  client: pg.Client,
  id: string,
  on: boolean,
): Promise<{ was: WebhookRow | undefined; webhook: WebhookRow }> {
  const before = await client.query<WebhookRow>('select * from rowhook.webhook_configurations where id = $1', [id]);
  const was = before.rows[0];
  // A trigger closes the breaker of a webhook that becomes active, and makes due what waits. This is
  // done here too, because an active webhook may also have an open breaker.
  const { rows } = await client.query<WebhookRow>(
    `with forgiven as (delete from rowhook.webhook_health where $2 and webhook_id = $1),
     due as (
       update rowhook.webhook_deliveries
          set next_attempt_at = now()
        where $2 and webhook_id = $1 and state = 'waiting' and next_attempt_at > now() and next_attempt_at < 'infinity'
     )
     update rowhook.webhook_configurations
        set is_active = $2, disabled_reason = null
      where id = $1
  returning *`,
    [id, on],
  );
  return { was, webhook: theOne(rows, id) };
}

export async function makeNewSecret(
  client: pg.ClientBase,
  id: string,
  overlap: string,
): Promise<{ secret: string; overlaps: boolean }> {
  const { rows } = await client.query<{ secret: string; overlaps: boolean }>(
    "select rowhook.rotate_secret($1::uuid, $2::interval) as secret, $2::interval > '0' as overlaps",
    [id, overlap],
  );
  return rows[0] ?? { secret: '', overlaps: false };
}
