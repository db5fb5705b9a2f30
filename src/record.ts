/**
 * RECORD: outcomes become rows. One transaction per batch writes logs, parked and finished deliveries and positions, fenced
 * by the epoch of every lane it touches: if one of them is not ours any more, nothing is written.
 *
 * Batches follow each other; while one is being written the next one gathers, so their size adapts to the load. A delivery
 * counts as done only once its batch has committed.
 */
import type pg from 'pg';
import { USER_AGENT } from './envelope.ts';
import { heldByOthers } from './held.ts';
import type { Attempt, Delivery, Entry, Health, Position, RowHead } from './model.ts';

/** Entries of one batch. */
const BATCH_MAX = 500;

/** How often positions are written: what a crash may make us look through again. */
const POSITION_EVERY_MS = 1_000;

export class LanesLost extends Error {
  constructor() {
    super('another daemon has taken over some of the lanes');
  }
}

export interface RecorderOptions {
  pool: pg.Pool;
  owner: string;
  /** Epoch of each lane that is held. */
  epochs: ReadonlyMap<number, string>;
  onCommitted(entries: readonly Entry[], heads: readonly RowHead[]): void;
  /** The positions that may be written now: everything before them is committed. */
  positions(): ReadonlyMap<number, Position>;
  onError(error: Error): void;
}

export class Recorder {
  readonly #options: RecorderOptions;
  #entries: Entry[] = [];
  #writing: Promise<void> | undefined;
  #positionsWrittenAt = performance.now();
  #written = new Map<number, Position>();
  #stopped = false;

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  add(entry: Entry): void {
    if (this.#stopped) return;
    this.#entries.push(entry);
    this.#schedule();
  }

  /** Called now and then, so that positions move on when no batch comes by. */
  tick(): void {
    if (performance.now() - this.#positionsWrittenAt >= POSITION_EVERY_MS && this.#movedPositions().length > 0)
      this.#schedule();
  }

  /** Writes what is left, positions too. */
  async flush(): Promise<void> {
    await this.#writing;
    this.#positionsWrittenAt = -Infinity;
    if (!this.#stopped) await this.#write();
  }

  /** Drops what is left: after an error nothing of it counts. */
  stop(): void {
    this.#stopped = true;
    this.#entries = [];
  }

  #schedule(): void {
    if (this.#writing) return;
    this.#writing = this.#write()
      .catch((error: Error) => {
        this.stop();
        this.#options.onError(error);
      })
      .finally(() => {
        this.#writing = undefined;
        // what came in while the last batch was being wound up
        if (this.#entries.length > 0) this.#schedule();
      });
  }

  async #write(): Promise<void> {
    // one turn of the loop, so that what finished together is written together
    await new Promise(setImmediate);
    do {
      const entries = this.#entries.splice(0, BATCH_MAX);
      const positionsDue = performance.now() - this.#positionsWrittenAt >= POSITION_EVERY_MS;
      const moved = positionsDue ? this.#movedPositions() : [];
      if (entries.length === 0 && moved.length === 0) return;
      const heads = await this.#commit(entries, moved);
      for (const [lane, position] of moved) this.#written.set(lane, position);
      for (const { delivery, wait } of entries) if (wait !== 'done') delivery.parked = true;
      if (positionsDue) this.#positionsWrittenAt = performance.now();
      this.#options.onCommitted(entries, heads);
    } while (this.#entries.length > 0 && !this.#stopped);
  }

  #movedPositions(): [number, Position][] {
    return [...this.#options.positions()].filter(([lane, position]) => this.#written.get(lane) !== position);
  }

  async #commit(entries: readonly Entry[], moved: readonly [number, Position][]): Promise<RowHead[]> {
    const { pool, owner, epochs } = this.#options;
    const lanes = [
      ...new Set([...entries.map(({ delivery }) => delivery.change.lane), ...moved.map(([lane]) => lane)]),
    ];
    const client = await pool.connect();
    try {
      await client.query(BEGIN);
      const held = await client.query(FENCE, [owner, lanes, lanes.map((lane) => epochs.get(lane) ?? '-1')]);
      if (held.rowCount !== lanes.length) throw new LanesLost();
      const attempts = entries.flatMap(({ attempt }) => attempt ?? []);
      if (attempts.length > 0)
        await client.query({ name: 'rowhook_record_logs', text: LOGS, values: [logRows(attempts)] });
      const heads = await recordDeliveries(client, entries);
      await recordHealth(client, entries);
      if (moved.length > 0) await client.query(POSITIONS, positionColumns(moved));
      await client.query('commit');
      client.release();
      return heads;
    } catch (error) {
      // the connection may be the problem: it is not used again
      client.release(true);
      throw error;
    }
  }
}

// A process that is paused in here holds its lanes' locks, and would keep a successor waiting: the server ends it.
const BEGIN = "begin; set local idle_in_transaction_session_timeout = '2s'";

const FENCE = `
  select l.lane from rowhook.webhook_lanes l
    join unnest($2::smallint[], $3::bigint[]) as mine (lane, epoch) using (lane, epoch)
   where l.owner = $1 order by l.lane for share of l`;

// One jsonb array for all rows: twenty parallel arrays would have to be kept in step by hand.
const LOGS = `
  insert into rowhook.webhook_logs
    (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, response_status, response_body,
     response_headers, request_url, request_headers, remote_ip, user_agent, duration_ms, next_attempt_at, error, lane,
     request_method, organization, webhook_name, payload_format)
  select clock_timestamp() - make_interval(secs => age_ms / 1000.0), tenant_id, webhook_id, delivery_id, event_id, event_type, attempt,
         status, code, response_status, response_body, response_headers, request_url, request_headers, remote_ip, '${USER_AGENT}',
         duration_ms, clock_timestamp() + make_interval(secs => retry_in_ms / 1000.0), error, lane,
         request_method, organization::json, webhook_name, payload_format
    from json_to_recordset($1::json) as r (
      age_ms float8, tenant_id text, webhook_id uuid, delivery_id uuid, event_id text, event_type text, attempt int, status text,
      code text, response_status int, response_body text, response_headers jsonb, request_url text, request_headers jsonb,
      remote_ip inet, duration_ms int, retry_in_ms float8, error text, lane smallint, request_method text, organization text,
      webhook_name text, payload_format text)`;

function logRows(attempts: readonly Attempt[]): string {
  const now = performance.now();
  return JSON.stringify(
    attempts.map(({ delivery, attempt, outcome, startedAt, requestMethod, requestUrl, requestHeaders, retryInMs }) => ({
      age_ms: now - startedAt,
      tenant_id: delivery.change.tenantId,
      webhook_id: delivery.webhookId,
      delivery_id: delivery.id,
      event_id: delivery.eventId,
      event_type: delivery.eventType,
      attempt,
      status: outcome.status,
      code: outcome.code,
      response_status: outcome.response?.status ?? null,
      response_body: outcome.response?.body ?? null,
      response_headers: outcome.response?.headers ?? null,
      request_url: requestUrl,
      request_headers: requestHeaders,
      remote_ip: outcome.remoteIp,
      duration_ms: outcome.durationMs,
      retry_in_ms: retryInMs,
      error: outcome.error,
      lane: delivery.change.lane,
      request_method: requestMethod,
      // what the body is made of, besides the event
      organization: delivery.organization,
      webhook_name: delivery.webhookName,
      payload_format: delivery.payloadFormat,
    })),
  );
}

// A webhook that was deleted meanwhile leaves no orphans. What was parked together is due in order, a batch all at once.
const PARK = `
  insert into rowhook.webhook_deliveries
    (delivery_id, webhook_id, outbox_id, occurred_at, next_attempt_at, source_id, attempt, attempted, ordered, lane, ordinal, truncated,
     test, state, tenant_id, event_id, event_type, row_key, last_code, organization, webhook_name,
     payload_format, batch_id)
  select delivery_id, webhook_id, outbox_id, to_timestamp(occurred_at / 1000.0),
         case when behind then 'infinity' else case when batch_id is null then clock_timestamp() else now() end + make_interval(secs => wait_ms / 1000.0) end,
         source_id, attempt, code is not null, ordered, lane, ordinal, truncated, test,
         case when behind or wait_ms is not null then 'waiting' else 'failed' end,
         tenant_id, event_id, event_type, row_key, code, organization, webhook_name,
         payload_format, batch_id
    from json_to_recordset($1::json) as r (
      delivery_id uuid, webhook_id uuid, outbox_id bigint, occurred_at float8, wait_ms float8, behind boolean, source_id int,
      attempt int, ordered boolean, lane smallint, ordinal smallint, truncated boolean, test boolean, tenant_id text, event_id text,
      event_type text, row_key text, code text, organization json, webhook_name text,
      payload_format text, batch_id text)
   where exists (select from rowhook.webhook_configurations w where w.id = r.webhook_id)
  on conflict (delivery_id) do update
     set state = excluded.state, next_attempt_at = excluded.next_attempt_at, attempt = excluded.attempt, ordered = excluded.ordered,
         attempted = webhook_deliveries.attempted or excluded.attempted,
         last_code = coalesce(excluded.last_code, webhook_deliveries.last_code), batch_id = excluded.batch_id`;

// Of each row with ordering 'row', the earliest delivery is the head: it goes next, if it waited behind another one.
const RELEASE = `
  with head as (
    select t.n, d.delivery_id, d.next_attempt_at
      from unnest($1::uuid[], $2::int[], $3::text[]) with ordinality as t (webhook_id, source_id, row_key, n)
     cross join lateral (
       select delivery_id, next_attempt_at from rowhook.webhook_deliveries d
        where d.webhook_id = t.webhook_id and d.row_key = t.row_key and d.source_id is not distinct from t.source_id
          and d.state = 'waiting' and d.ordered
        order by d.outbox_id, d.ordinal limit 1) as d
  ), released as (
    update rowhook.webhook_deliveries d set next_attempt_at = clock_timestamp()
      from head where d.delivery_id = head.delivery_id and head.next_attempt_at = 'infinity'
  )
  select n::int as n, delivery_id, next_attempt_at = 'infinity' as released from head`;

/** A delivery may come by twice in one batch (parked, then done): only how it ended is written. */
async function recordDeliveries(client: pg.ClientBase, entries: readonly Entry[]): Promise<RowHead[]> {
  const latest = [...new Map(entries.map((entry) => [entry.delivery.id, entry])).values()];
  const rows = latest.filter(({ delivery }) => delivery.parked).map(({ delivery }) => delivery.id);
  const held = await heldByOthers(client, 'deliveries', rows);
  const last = latest.filter(({ delivery }) => !held.has(delivery.id));
  const parked = last.filter(({ wait }) => wait !== 'done');
  const done = last.filter(({ wait, delivery }) => wait === 'done' && delivery.parked);
  if (parked.length > 0) await client.query({ name: 'rowhook_record_park', text: PARK, values: [parkRows(parked)] });
  if (done.length > 0) {
    await client.query('delete from rowhook.webhook_deliveries where delivery_id = any ($1::uuid[])', [
      done.map(({ delivery }) => delivery.id),
    ]);
  }
  const ordered = [...parked, ...done].filter((entry) => entry.ordered).map(({ delivery }) => delivery);
  return ordered.length === 0 ? [] : releaseHeads(client, ordered);
}

async function releaseHeads(client: pg.ClientBase, deliveries: readonly Delivery[]): Promise<RowHead[]> {
  const rows = [
    ...new Map(deliveries.map((d) => [`${d.webhookId} ${d.change.sourceId} ${d.change.rowKey}`, d])).values(),
  ];
  const found = await client.query(RELEASE, [
    rows.map(({ webhookId }) => webhookId),
    rows.map(({ change }) => change.sourceId),
    rows.map(({ change }) => change.rowKey),
  ]);
  const heads = new Map(found.rows.map((row) => [row.n, row]));
  return rows.map((delivery, i) => {
    const head = heads.get(i + 1);
    return { delivery, head: head?.delivery_id ?? null, released: head?.released ?? false };
  });
}

function parkRows(entries: readonly Entry[]): string {
  return JSON.stringify(
    entries.map(({ delivery, attempt, wait, ordered }) => ({
      delivery_id: delivery.id,
      webhook_id: delivery.webhookId,
      outbox_id: delivery.change.id,
      occurred_at: delivery.change.occurredAt,
      wait_ms: typeof wait === 'number' ? wait : null,
      behind: wait === 'behind',
      source_id: delivery.change.sourceId,
      attempt: attempt?.attempt ?? delivery.attempt,
      ordered,
      lane: delivery.change.lane,
      ordinal: delivery.ordinal,
      truncated: delivery.change.truncated,
      test: delivery.change.testWebhookId !== null,
      tenant_id: delivery.change.tenantId,
      event_id: delivery.eventId,
      event_type: delivery.eventType,
      row_key: delivery.change.rowKey,
      code: attempt?.outcome.code ?? null,
      organization: JSON.parse(delivery.organization),
      webhook_name: delivery.webhookName,
      payload_format: delivery.payloadFormat,
      batch_id: delivery.batchId,
    })),
  );
}

const HEALTH = `
  insert into rowhook.webhook_health (webhook_id, lane, failures, failing_since, open_until, openings)
  select webhook_id, lane, failures, to_timestamp(failing_since / 1000.0), to_timestamp(open_until / 1000.0), openings
    from json_to_recordset($1::json) as r (webhook_id uuid, lane smallint, failures int, failing_since float8, open_until float8, openings int)
   where exists (select from rowhook.webhook_configurations w where w.id = r.webhook_id)
  on conflict (webhook_id) do update
     set failures = excluded.failures, failing_since = excluded.failing_since, open_until = excluded.open_until,
         openings = excluded.openings, updated_at = now()`;

/** Only webhooks that fail, or have just stopped failing, cost anything here. */
async function recordHealth(client: pg.ClientBase, entries: readonly Entry[]): Promise<void> {
  const last = new Map<string, { lane: number; health: Health | null }>();
  for (const { delivery, health } of entries) {
    if (health !== undefined) last.set(delivery.webhookId, { lane: delivery.change.lane, health });
  }
  if (last.size === 0) return;
  for (const id of await heldByOthers(client, 'health', [...last.keys()])) last.delete(id);
  const healthy = [...last].filter(([, { health }]) => health === null).map(([id]) => id);
  const failing = [...last].flatMap(([webhook_id, { lane, health }]) =>
    health === null
      ? []
      : [
          {
            webhook_id,
            lane,
            failures: health.failures,
            failing_since: health.failingSince,
            open_until: health.openUntil,
            openings: health.openings,
          },
        ],
  );
  if (healthy.length > 0)
    await client.query('delete from rowhook.webhook_health where webhook_id = any ($1::uuid[])', [healthy]);
  if (failing.length > 0) await client.query(HEALTH, [JSON.stringify(failing)]);
}

const POSITIONS = `
  update rowhook.webhook_lanes l
     set from_snapshot = p.from_snapshot, to_snapshot = p.to_snapshot, done_id = p.done_id, position_at = p.at, sequence_value = p.sequence_value
    from unnest($1::smallint[], $2::pg_snapshot[], $3::pg_snapshot[], $4::bigint[], $5::timestamptz[], $6::bigint[])
         as p (lane, from_snapshot, to_snapshot, done_id, at, sequence_value)
   where l.lane = p.lane`;

function positionColumns(moved: readonly [number, Position][]): unknown[] {
  const column = <T>(of: (position: Position) => T) => moved.map(([, position]) => of(position));
  return [
    moved.map(([lane]) => lane),
    column(({ from }) => from),
    column(({ to }) => to),
    column(({ lastId }) => lastId),
    column(({ at }) => at),
    column(({ sequenceValue }) => sequenceValue),
  ];
}
