/** The values of `rowhook status`. A part that this role may not read is omitted and named. */
import type pg from 'pg';
import { readSlots, type Slot } from '../capture/outbox-slots.ts';
import { sourceProblems } from '../capture/source-problems.ts';
import { withoutPeriod } from '../database/explain-error.ts';
import { remedyOfUnseen } from '../database/membership.ts';
import { schemaVersion } from '../database/migrations.ts';
import { readOnlySetting } from '../database/read-only.ts';
import { type InboundState, readInboundState } from '../observe/inbound-state.ts';
import { type LaneLag, readLag } from '../observe/lane-lag.ts';
import type { WebhookState } from './webhooks/overview.ts';

export interface WebhookStatus {
  id: string;
  tenant_id: string | null;
  tenant_name: string | null;
  name: string | null;
  state: WebhookState | 'deleted';
  disabledReason: string | null;
  waiting: number;
  givenUp: number;
  /** Age of the oldest event that waits. */
  oldestSeconds: number | null;
  /** closed: the last attempt failed. Null: the webhook is healthy. */
  breaker: 'closed' | 'open' | 'probing' | null;
  failures: number | null;
  /** Seconds until an open breaker allows an attempt. */
  opensAgainSeconds: number | null;
}

export interface DaemonStatus {
  /** `host:pid`. */
  name: string;
  startedAt: Date;
  /** Number of lanes that it owns. */
  lanes: number;
}

export interface Status {
  at: Date;
  database: string;
  server: string;
  /** Why nothing is delivered while sessions of this login are read-only. Null: they are not. */
  readOnly: { what: string; fix: string } | null;
  schemaVersion: number | null;
  environment: string | null;
  /**
   * As the metrics rowhook_oldest_undelivered_seconds and rowhook_oldest_lagging_seconds: events that
   * are neither delivered nor parked.
   */
  oldestUndeliveredSeconds: number | null;
  /** Age of the oldest parked event that waits for its next attempt. */
  oldestWaitingSeconds: number | null;
  waiting: number;
  givenUp: number;
  breakersOpen: number;
  webhooks: { active: number; off: number; disabled: number };
  /** Running daemons, the oldest first. */
  daemons: DaemonStatus[];
  lanes: LaneLag[];
  /**
   * Webhooks with waiting or given-up deliveries, with failures, or disabled by rowhook. The worst
   * is first.
   */
  troubled: WebhookStatus[];
  /** Null: this role may not see it. */
  inbound: InboundState | null;
  slots: Slot[];
  sources: SourcesStatus;
  unseen: string[];
}

export interface SourcesStatus {
  watched: number;
  /** Problems that keep some tables from being captured. */
  problems: { table: string; what: string; fix: string }[];
}

interface Totals {
  waiting: number;
  givenUp: number;
  oldestSeconds: number | null;
  breakersOpen: number;
  active: number;
  off: number;
  disabled: number;
}

const NO_TOTALS: Totals = {
  waiting: 0,
  givenUp: 0,
  oldestSeconds: null,
  breakersOpen: 0,
  active: 0,
  off: 0,
  disabled: 0,
};

/** Returns at most `limit` + 1 troubled webhooks. */
export async function readStatus(client: pg.Client, limit: number): Promise<Status> {
  const unseen: string[] = [];
  const part = async <T>(name: string, read: () => Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await read();
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      if (code === '55P03') unseen.push(`${name}: another session has locked a table. "rowhook doctor" may name it`);
      else if (code === '42501') unseen.push(`${name}: ${message}; ${withoutPeriod(await remedyOfUnseen(client))}`);
      else throw error;
      return otherwise;
    }
  };
  const server = await readServer(client);
  const readOnly = await readOnlySetting(client);
  const version = await part('version', () => schemaVersion(client), null);
  const environment = await part('environment', () => readEnvironment(client), null);
  const daemons = await part('daemons', () => readDaemons(client), []);
  const lanes = await part('lanes', () => readLag(client), []);
  const totals = await part('webhooks', () => readTotals(client), NO_TOTALS);
  const troubled = await part('webhooks that fail', () => readTroubled(client, limit + 1), []);
  const inbound = await part('inbound events', () => readInboundState(client), null);
  const slots = await part('slots', () => readSlots(client), []);
  const sources = await part('watched tables', () => readSources(client), { watched: 0, problems: [] });
  const ages = lanes.flatMap(({ oldestSeconds }) => oldestSeconds ?? []);
  return {
    ...server,
    readOnly: readOnly && { what: readOnly.what, fix: readOnly.fix },
    schemaVersion: version,
    environment,
    oldestUndeliveredSeconds: ages.length === 0 ? null : Math.max(...ages),
    waiting: totals.waiting,
    givenUp: totals.givenUp,
    oldestWaitingSeconds: totals.oldestSeconds,
    breakersOpen: totals.breakersOpen,
    webhooks: { active: totals.active, off: totals.off, disabled: totals.disabled },
    daemons,
    lanes,
    troubled,
    inbound,
    slots,
    sources,
    unseen,
  };
}

async function readServer(client: pg.Client): Promise<Pick<Status, 'at' | 'database' | 'server'>> {
  const { rows } = await client.query<Pick<Status, 'at' | 'database' | 'server'>>(
    `select clock_timestamp() as at, current_database() as database, current_setting('server_version') as server`,
  );
  return rows[0] as (typeof rows)[number];
}

async function readSources(client: pg.Client): Promise<SourcesStatus> {
  const { rows } = await client.query<{ watched: number }>(
    'select count(*)::int as watched from rowhook.webhook_sources',
  );
  const problems = (await sourceProblems(client)).map(({ table, what, fix }) => ({ table, what, fix }));
  return { watched: rows[0]?.watched ?? 0, problems };
}

async function readEnvironment(client: pg.Client): Promise<string | null> {
  const { rows } = await client.query<{ environment: string | null }>(
    'select environment from rowhook.webhook_installation',
  );
  return rows[0]?.environment ?? null;
}

async function readDaemons(client: pg.Client): Promise<DaemonStatus[]> {
  const { rows } = await client.query<DaemonStatus>(
    `select d.name, d.started_at as "startedAt",
            (select count(*)::int from rowhook.webhook_lane_owners l where l.owner = d.id) as lanes
       from rowhook.webhook_daemons d
      where d.lease_expires_at > clock_timestamp()
      order by d.started_at`,
  );
  return rows;
}

async function readTotals(client: pg.Client): Promise<Totals> {
  // The others may read the tables, and row-level security shows them no row, or those of one tenant.
  await client.query('select from rowhook.webhook_installation');
  const { rows } = await client.query<Totals>(
    `select d.*, c.*, h.*
       from (select count(*) filter (where state = 'waiting')::float8 as waiting,
                    count(*) filter (where state = 'given_up')::float8 as "givenUp",
                    extract(epoch from clock_timestamp() - min(occurred_at)
                            filter (where state = 'waiting'))::float8 as "oldestSeconds"
               from rowhook.webhook_deliveries) as d,
            (select count(*) filter (where is_active)::int as active,
                    count(*) filter (where not is_active and disabled_reason is null)::int as off,
                    count(*) filter (where not is_active and disabled_reason is not null)::int as disabled
               from rowhook.webhook_configurations) as c,
            (select count(*)::int as "breakersOpen" from rowhook.webhook_health where open_until is not null) as h`,
  );
  return rows[0] ?? NO_TOTALS;
}

async function readTroubled(client: pg.Client, limit: number): Promise<WebhookStatus[]> {
  const { rows } = await client.query<WebhookStatus>(
    `with unfinished as (
       select webhook_id as id, count(*) filter (where state = 'waiting')::float8 as waiting,
              count(*) filter (where state = 'given_up')::float8 as given_up,
              min(occurred_at) filter (where state = 'waiting') as oldest
         from rowhook.webhook_deliveries group by webhook_id
     ), troubled as (
       select id from unfinished
       union select webhook_id from rowhook.webhook_health
       union select id from rowhook.webhook_configurations where not is_active and disabled_reason is not null
     )
     select t.id, c.tenant_id, n.name as tenant_name, c.name, c.disabled_reason as "disabledReason",
            rowhook._webhook_state(c.is_active, c.disabled_reason, h.failures, h.open_until) as state,
            coalesce(u.waiting, 0) as waiting, coalesce(u.given_up, 0) as "givenUp",
            extract(epoch from clock_timestamp() - u.oldest)::float8 as "oldestSeconds",
            case when h.webhook_id is null then null
                 when h.open_until is null then 'closed'
                 when h.open_until > clock_timestamp() then 'open'
                 else 'probing' end as breaker,
            h.failures,
            greatest(extract(epoch from h.open_until - clock_timestamp()), 0)::float8 as "opensAgainSeconds"
       from troubled t
       left join unfinished u on u.id = t.id
       left join rowhook.webhook_configurations c on c.id = t.id
       left join rowhook.webhook_tenants n on n.id = c.tenant_id
       left join rowhook.webhook_health h on h.webhook_id = t.id
      order by u.given_up desc nulls last, u.waiting desc nulls last, t.id
      limit $1`,
    [limit],
  );
  return rows;
}
