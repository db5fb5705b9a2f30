/**
 * Reads what earlier owners of a lane left in the tables, and what waits for a tenant whose
 * configuration changed. Called when this daemon takes a lane, or when a tenant's configuration
 * changes.
 */
import type pg from 'pg';
import { PATIENT } from '../database/connections.ts';
import type { ChangedWebhooks, Lane, RowHead } from '../model.ts';
import type { Health } from '../outcome.ts';
import { leavingOut } from '../shared/isolate.ts';

/** Deliveries that wait for one webhook. */
export interface WaitingFor {
  tenantId: string;
  /** Some deliveries were never attempted, so later events must stay behind them. */
  unattempted: boolean;
  /** With ordering 'row': the rows that a failed delivery blocks. */
  heads: RowHead[];
}

/** By webhook id. */
export type Waiting = Map<string, WaitingFor>;

// Moves from one webhook to the next through the index.
const WAITING = (selected: string) => `
     with recursive hop as (
       select l.lane, (select d.webhook_id from rowhook.webhook_deliveries d
                        where d.lane = l.lane and d.state = 'waiting' order by d.webhook_id limit 1) as webhook_id
         from unnest($1::smallint[]) as l (lane)
       union all
       select h.lane, (select d.webhook_id from rowhook.webhook_deliveries d
                        where d.lane = h.lane and d.state = 'waiting' and d.webhook_id > h.webhook_id
                        order by d.webhook_id limit 1)
         from hop h where h.webhook_id is not null
     )
     select ${selected}
       from hop h join rowhook.webhook_configurations w on w.id = h.webhook_id`;
const WITH_TENANT = `w.id, w.tenant_id,
            exists (select from rowhook.webhook_deliveries d
                     where d.lane = h.lane and d.webhook_id = h.webhook_id and d.state = 'waiting'
                       and not d.replayed and not d.attempted) as unattempted`;

const HEADS = (selected: string) => `
     select distinct on (webhook_id, source_id, row_key) ${selected}
       from rowhook.webhook_deliveries where lane = any ($1::smallint[]) and state = 'waiting' and ordered
      order by webhook_id, source_id, row_key, outbox_id, ordinal`;
const HEAD = 'webhook_id, source_id, row_key, delivery_id';

/**
 * Finds the webhooks of `lanes` that have waiting deliveries. A webhook whose tenant cannot be read
 * is left out, and so is a delivery whose row key cannot be read.
 */
export async function findWaiting(pool: pg.Pool, lanes: readonly number[]): Promise<Waiting> {
  const read = async (text: string, more: unknown[] = []) => (await pool.query(text, [lanes, ...more])).rows;
  const idsOf = async (text: string) => (await read(text)).map(({ id }): string => id);
  const rows = await leavingOut(
    () => read(WAITING(WITH_TENANT)),
    () => idsOf(WAITING('w.id')),
    (ids) => read(`${WAITING(WITH_TENANT)} where w.id = any ($2::uuid[])`, [ids]),
  );
  const heads = await leavingOut(
    () => read(HEADS(HEAD)),
    () => idsOf(HEADS('delivery_id as id')),
    (ids) =>
      read(
        `select ${HEAD} from rowhook.webhook_deliveries
          where lane = any ($1::smallint[]) and delivery_id = any ($2::uuid[])`,
        [ids],
      ),
  );
  const waiting = toWaiting(rows);
  for (const { webhook_id, source_id, row_key, delivery_id } of heads) {
    const delivery = { webhookId: webhook_id, change: { sourceId: source_id, rowKey: row_key } };
    waiting.get(webhook_id)?.heads.push({ delivery, head: delivery_id, released: false });
  }
  return waiting;
}

/** Tenants with their webhooks that changed. */
export type Changed = ReadonlyMap<string, ChangedWebhooks>;

/**
 * Finds the webhooks in `changed` that have waiting deliveries. Their configuration has changed, or
 * somebody has asked for a replay.
 */
export async function findWaitingOf(pool: pg.Pool, changed: Changed): Promise<Waiting> {
  const read = async (condition: string, ids: readonly string[]) => {
    if (ids.length === 0) return [];
    const { rows } = await pool.query(
      `select w.id, w.tenant_id, false as unattempted
         from rowhook.webhook_configurations w
        where ${condition}
          and exists (select from rowhook.webhook_deliveries d
                       where d.lane = rowhook._lane(w.tenant_id) and d.webhook_id = w.id and d.state = 'waiting')`,
      [ids],
    );
    return rows;
  };
  const { tenantIds, webhookIds } = idsOf(changed);
  return toWaiting([
    ...(await read('w.tenant_id = any ($1::text[])', tenantIds)),
    ...(await read('w.id = any ($1::uuid[])', webhookIds)),
  ]);
}

/**
 * Returns the ids in `failing` that are in `changed` and have no failures on record. A change of a
 * webhook's configuration clears its failures, and so does its deletion.
 */
export async function findForgiven(pool: pg.Pool, changed: Changed, failing: readonly string[]): Promise<string[]> {
  if (failing.length === 0) return [];
  const { tenantIds, webhookIds } = idsOf(changed);
  const named = new Set(webhookIds);
  const suspects = tenantIds.length > 0 ? failing : failing.filter((id) => named.has(id));
  if (suspects.length === 0) return [];
  const { rows } = await pool.query(
    `select f.id
       from unnest($1::uuid[]) as f (id)
       left join rowhook.webhook_configurations w on w.id = f.id
      where (w.tenant_id = any ($2::text[]) or f.id = any ($3::uuid[]))
        and not exists (select from rowhook.webhook_health h where h.webhook_id = f.id)`,
    [suspects, tenantIds, webhookIds],
  );
  return rows.map(({ id }) => id);
}

/** The tenants any of whose webhooks may have changed, and the webhooks of the others. */
function idsOf(changed: Changed): { tenantIds: string[]; webhookIds: string[] } {
  const tenantIds = [...changed].flatMap(([tenantId, webhooks]) => (webhooks === null ? tenantId : []));
  return { tenantIds, webhookIds: [...changed.values()].flatMap((webhooks) => [...(webhooks ?? [])]) };
}

function toWaiting(rows: readonly { id: string; tenant_id: string; unattempted: boolean }[]): Waiting {
  return new Map(rows.map((row) => [row.id, { tenantId: row.tenant_id, unattempted: row.unattempted, heads: [] }]));
}

/** Reads the health of the failing webhooks of `lanes`. */
export async function readHealth(pool: pg.Pool, lanes: readonly number[]): Promise<Map<string, Health>> {
  const { rows } = await pool.query(
    `select webhook_id, lane, failures, openings,
            (extract(epoch from case when isfinite(failing_since) then failing_since
                                     else now() end) * 1000)::float8 as "failingSince",
            (extract(epoch from open_until) * 1000)::float8 as "openUntil"
       from rowhook.webhook_health where lane = any ($1::smallint[])`,
    [lanes],
  );
  return new Map(rows.map(({ webhook_id, ...health }) => [webhook_id, health]));
}

/** $1: lanes. $2: since when. */
const BEGUN_OF_LANES = begunOf('lane = any ($1::smallint[])', '$2::timestamptz');

/**
 * $1: tenants that lag. $2: since when, for each of them: one may be hours behind, and what a quick
 * one has sent in hours does not fit into memory.
 */
const BEGUN_OF_TENANTS = `
  select b.lane, b.delivery_id
    from unnest($1::text[], $2::timestamptz[]) as t (tenant_id, since)
   cross join lateral (${begunOf('tenant_id = t.tenant_id', 't.since')}) as b`;

/** The margin of one minute covers differences between the clocks of two statements. */
function begunOf(condition: string, since: string): string {
  return `
    select lane, delivery_id from rowhook.webhook_logs
     where attempted_at >= ${since} - interval '1 minute' and ${condition}
     union
    select lane, delivery_id from rowhook.webhook_deliveries
     where parked_at >= ${since} - interval '1 minute' and ${condition}
       -- A replay takes no event that is still to be read, and it may be large.
       and not replayed`;
}

/**
 * By lane, the deliveries that were begun after a position was taken: that of their lane or, if
 * their tenant lags, that of their tenant. A new owner must not begin them again.
 */
export async function findBegun(pool: pg.Pool, lanes: readonly Lane[]): Promise<Map<number, Set<string>>> {
  const begun = new Map(lanes.map(({ lane }) => [lane, new Set<string>()]));
  const read = async (text: string, values: readonly unknown[]) => {
    const { rows } = await pool.query<[number, string]>({
      text,
      values: [...values],
      rowMode: 'array' as const,
      ...PATIENT,
    });
    for (const [lane, id] of rows) begun.get(lane)?.add(id);
  };
  const [oldest] = lanes.map(({ position }) => position.at).sort((a, b) => Date.parse(a) - Date.parse(b));
  if (oldest !== undefined) await read(BEGUN_OF_LANES, [lanes.map(({ lane }) => lane), oldest]);
  const lagging = lanes.flatMap((lane) => lane.lagging);
  if (lagging.length > 0)
    await read(BEGUN_OF_TENANTS, [lagging.map(({ tenantId }) => tenantId), lagging.map(({ position }) => position.at)]);
  return begun;
}
