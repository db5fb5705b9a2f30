/**
 * Finds a probably misspelt tenant. A webhook of a misspelt tenant waits forever without a message.
 */
import type pg from 'pg';
import { shellWord } from '../../shared/shell-quote.ts';
import { editDistance, nearNames } from '../../shared/spelling.ts';
import type { WebhookRow } from './webhooks.ts';

/** Limit on searching tables without an index. The note is not worth a longer wait. */
const LOOK_MS_MAX = 2_000;

/** Limit on tenants whose names are compared. */
const COMPARED_MAX = 1_000;

/**
 * A sentence if nothing knows the tenant of a new webhook. Null: the tenant is known, no tenant is
 * known at all, the search failed, or the caller may not know other tenants.
 */
export async function tenantNote(
  client: pg.ClientBase,
  { id, tenant_id }: Pick<WebhookRow, 'id' | 'tenant_id'>,
): Promise<string | null> {
  await client.query('begin');
  try {
    await client.query(`set local statement_timeout = ${LOOK_MS_MAX}`);
    return (await isOperator(client)) ? await note(client, id, tenant_id) : null;
  } catch {
    return null;
  } finally {
    await client.query('rollback');
  }
}

async function isOperator(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ is: boolean }>(`select pg_has_role('rowhook_owner', 'usage') as is`);
  return rows[0]?.is === true;
}

async function note(client: pg.ClientBase, id: string, tenantId: string): Promise<string | null> {
  if (await isNamed(client, id, tenantId)) return null;
  const tables = await tenantColumns(client);
  const deadline = performance.now() + LOOK_MS_MAX;
  for (const { relation, column } of tables) {
    if (performance.now() > deadline) return null;
    const { rowCount } = await client.query(`select from ${relation} where ${column}::text = $1 limit 1`, [tenantId]);
    if (rowCount) return null;
  }
  const { known, near } = await others(client, id, tenantId, tables);
  if (!known) return null;
  const verdict = `no watched row, no event and no other webhook has the tenant "${tenantId}".`;
  if (near === null) return verdict;
  const remedy = `run "rowhook webhook delete ${id}", and create it again with --tenant ${shellWord(near)}`;
  return `${verdict} Did you mean "${near}"? If so, ${remedy}.`;
}

async function isNamed(client: pg.ClientBase, id: string, tenantId: string): Promise<boolean> {
  const { rows } = await client.query<{ named: boolean }>(
    `select exists (select from rowhook.webhook_configurations where tenant_id = $1 and id <> $2)
         or exists (select from rowhook.webhook_tenants where id = $1)
         or exists (select from rowhook.webhook_sources where tenant_id = $1)
         or exists (select from rowhook.webhook_logs where tenant_id = $1 and webhook_id <> $2)
         or exists (select from rowhook.webhook_outbox
                     where lane = rowhook._lane($1) and tenant_id = $1 and event_types <> '{}') as named`,
    [tenantId, id],
  );
  return rows[0]?.named === true;
}

interface TenantColumn {
  relation: string;
  column: string;
}

async function tenantColumns(client: pg.ClientBase): Promise<TenantColumn[]> {
  const { rows } = await client.query<TenantColumn>(
    `select rowhook._qualified(s.relation) as relation, quote_ident(s.tenant_column) as column
       from rowhook.webhook_sources s
      where s.tenant_column = any (rowhook._columns(s.relation)) and s.parent_id is null`,
  );
  return rows;
}

async function others(
  client: pg.ClientBase,
  id: string,
  tenantId: string,
  tables: readonly TenantColumn[],
): Promise<{ known: boolean; near: string | null }> {
  const some = tables.map(
    ({ relation, column }) =>
      `(select ${column}::text from ${relation} where ${column} is not null limit ${COMPARED_MAX})`,
  );
  const { rows } = await client.query<{ id: string }>(
    `select distinct t.id from (
       (select tenant_id as id from rowhook.webhook_configurations where id <> $1 limit ${COMPARED_MAX})
       union all (select id from rowhook.webhook_tenants limit ${COMPARED_MAX})
       ${some.map((query) => `union all ${query}`).join(' ')}) as t
      order by 1 limit ${COMPARED_MAX}`,
    [id],
  );
  const [near] = nearNames(
    tenantId,
    rows.map((row) => row.id),
    1,
  );
  // One letter in three may differ. With more, any name would match.
  const isNear = near !== undefined && editDistance(tenantId.toLowerCase(), near.toLowerCase()) <= tenantId.length / 3;
  return { known: rows.length > 0, near: isNear ? near : null };
}
