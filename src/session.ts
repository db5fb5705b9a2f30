/**
 * One session of the daemon: everything between taking lanes and losing the database, or being asked to stop. It owns the only
 * loop that reads. Whatever goes wrong with the database ends the session; the next one (daemon.ts) begins with nothing in
 * memory and reads its positions again, so that no error has a path of its own.
 *
 *     READ (read.ts) ─▶ MATCH (match.ts) ─▶ dispatch.ts ─▶ DELIVER (deliver.ts) ─▶ RECORD (record.ts)
 *       ▲ windows                              │ queues, turns, parking                │ logs, positions
 *       └───────────── position ◀── windows.ts ┴──────────── committed ◀───────────────┘
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type pg from 'pg';
import { Breakers } from './breaker.ts';
import type { Settings } from './config.ts';
import { Configurations } from './configurations.ts';
import { connect, endpointsOf, openPool, PATIENT, QUERY_MS_MAX } from './db.ts';
import { createSender, type Sender } from './deliver.ts';
import { Dispatcher } from './dispatch.ts';
import { Doorbell } from './doorbell.ts';
import { giveLanesBack, groupByPosition, type Lane, LEASE_MS, RENEW_MS, renewLanes, takeLanes } from './lanes.ts';
import { type Bell, listen } from './listen.ts';
import { type Logger, logAttempt } from './log.ts';
import { Maintenance } from './maintain.ts';
import { judge, match } from './match.ts';
import type { Attempt, Change, Entry, Position, Request, TenantConfiguration, Webhook, Window } from './model.ts';
import { type DueQuery, findBegun, findFailing, findWaiting, findWaitingOf, readDue, readHealth } from './parked.ts';
import { type Pulse, READER_SETTINGS, readPulse, readWindow } from './read.ts';
import { LanesLost, Recorder } from './record.ts';
import { OpenWindows } from './windows.ts';

/** Deliveries in memory above which nothing more is read. */
const READ_AHEAD_MAX = 1_000;

/** Nothing is started in the last stretch of a lease: the renewal may be late. */
const LEASE_MARGIN_MS = 1_000;

/** How long attempts in flight may go on after a stop. */
const DRAIN_MS = 10_000;

/** How long giving lanes back, and closing connections, may take. */
const CLOSE_MS = 2_000;

/** Connections beside the reader's and the listener's: recording, configurations, parked deliveries, leases. */
const POOL_MAX = 4;

/** Lanes at the same position. `stamp` counts snapshots: a larger one was taken later. */
interface Group {
  lanes: number[];
  position: Position;
  stamp: number;
}

export class Session {
  readonly #settings: Settings;
  readonly #log: Logger;
  readonly #owner = randomUUID();
  readonly #predecessor: string | null;
  readonly #pool: pg.Pool;
  readonly #windows = new OpenWindows();
  readonly #sender: Sender;
  readonly #configurations: Configurations;
  #databaseEndpoints: Awaited<ReturnType<typeof endpointsOf>> = [];
  #dispatcher: Dispatcher | undefined;
  #recorder: Recorder | undefined;
  #bell: Bell | undefined;
  #stopping = false;
  #fail: (error: Error) => void = () => {};
  readonly #failed: Promise<never>;
  #wake: () => void = () => {};
  #rang = false;
  #leaseUntil = 0;
  #clockOffsetMs = 0;
  #stamps = 0;
  /** Deliveries that an owner before us began: they are not begun again. */
  #begun = new Set<string>();
  #incarnations: { startsAt: bigint; incarnation: string }[] = [];

  /** `predecessor` is the session of this process before this one: its lanes need not be waited for. */
  constructor(settings: Settings, log: Logger, predecessor: Session | undefined) {
    this.#predecessor = predecessor ? predecessor.#owner : null;
    this.#settings = settings;
    this.#log = log;
    this.#failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.#failed.catch(() => {});
    this.#pool = openPool(settings.databaseUrl, {
      applicationName: 'rowhook',
      max: POOL_MAX,
      onError: (error) => this.#fail(error),
    });
    this.#sender = createSender(settings, { closed: () => this.#databaseEndpoints });
    this.#configurations = new Configurations(this.#pool);
  }

  /** Ends the session in order: no more reading, attempts in flight may end, what they did is recorded, lanes go back. */
  stop(): void {
    this.#stopping = true;
    this.#wake();
  }

  /** Resolves after stop(); rejects when the database or the lanes are lost. */
  async run(): Promise<void> {
    let reader: pg.Client | undefined;
    const timers: NodeJS.Timeout[] = [];
    try {
      const lanes = await this.#takeLanes();
      if (this.#stopping) return;
      timers.push(setInterval(() => void this.#renew(lanes.length).catch(this.#fail), RENEW_MS));
      timers.push(setInterval(() => this.#recorder?.tick(), RENEW_MS / 4));
      const maintenance = new Maintenance(this.#pool, this.#settings.retentionDays, this.#log);
      await maintenance.run();
      timers.push(setInterval(() => void maintenance.run(), maintenance.everyMs));
      reader = await connect(this.#settings.databaseUrl, 'rowhook reader', QUERY_MS_MAX);
      reader.on('error', this.#fail);
      reader.on('end', () => this.#fail(new Error('the reader connection ended')));
      await reader.query(READER_SETTINGS);
      this.#databaseEndpoints = await endpointsOf(reader);
      await this.#prepare(lanes);
      if (this.#settings.wake === 'notify') {
        this.#bell = await listen(this.#settings.databaseUrl, () => this.#ring(), this.#fail);
      }
      await Promise.race([this.#loop(reader, lanes), this.#failed]);
      await Promise.race([this.#drain(), this.#failed]);
    } finally {
      for (const timer of timers) clearInterval(timer);
      this.#dispatcher?.stop();
      this.#recorder?.stop();
      await this.#sender.close();
      reader?.removeAllListeners('end');
      // a connection that does not answer must not keep the next session from starting
      await within(CLOSE_MS, giveLanesBack(this.#pool, this.#owner));
      await within(CLOSE_MS, Promise.all([this.#bell?.close(), reader?.end(), this.#pool.end()]));
    }
  }

  /** Stands by until there are lanes to take. */
  async #takeLanes(): Promise<Lane[]> {
    const { rows } = await this.#pool.query({ text: 'select rowhook._notice_restore() as noticed', ...PATIENT });
    if (rows[0].noticed)
      this.#log.warn(
        { noticed: rows[0].noticed },
        'the database was restored or moved: going on with what is undelivered',
      );
    let standingBy = false;
    while (!this.#stopping) {
      const askedAt = performance.now();
      const lanes = await takeLanes(this.#pool, this.#owner, `${hostname()}:${process.pid}`, this.#predecessor);
      if (lanes.length > 0) {
        this.#leaseUntil = askedAt + LEASE_MS - LEASE_MARGIN_MS;
        await this.#renew(lanes.length);
        this.#log.info({ lanes: lanes.length }, 'took lanes');
        return lanes;
      }
      if (!standingBy) this.#log.info('standing by: another daemon holds the lanes');
      standingBy = true;
      await Promise.race([this.#pause(RENEW_MS), this.#failed]);
    }
    return [];
  }

  async #renew(expected: number): Promise<void> {
    const askedAt = performance.now();
    const renewed = await within(LEASE_MS, renewLanes(this.#pool, this.#owner));
    if (renewed === undefined || renewed.held < expected) throw new LanesLost();
    this.#leaseUntil = askedAt + LEASE_MS - LEASE_MARGIN_MS;
    this.#clockOffsetMs = renewed.nowMs - (performance.timeOrigin + (askedAt + performance.now()) / 2);
  }

  #now(): number {
    return performance.timeOrigin + performance.now() + this.#clockOffsetMs;
  }

  async #prepare(lanes: readonly Lane[]): Promise<void> {
    const numbers = lanes.map(({ lane }) => lane);
    const { rows } = await this.#pool.query(
      'select starts_at_id, incarnation from rowhook.webhook_incarnations order by starts_at_id desc',
    );
    this.#incarnations = rows.map((row) => ({ startsAt: BigInt(row.starts_at_id), incarnation: row.incarnation }));
    const oldest = lanes.map(({ position }) => position.at).sort((a, b) => Date.parse(a) - Date.parse(b))[0] as string;
    this.#begun = await findBegun(this.#pool, numbers, oldest);
    const recorder = new Recorder({
      pool: this.#pool,
      owner: this.#owner,
      epochs: new Map(lanes.map(({ lane, epoch }) => [lane, epoch])),
      onCommitted: (entries, heads) => this.#dispatcher?.committed(entries, heads),
      positions: () => this.#windows.done,
      onError: this.#fail,
    });
    this.#recorder = recorder;
    const options = {
      maxInFlight: this.#settings.maxInFlight,
      send: (request: Request) => this.#sender.send(request),
      record: (entry: Entry) => recorder.add(entry),
      readDue: (queries: readonly DueQuery[]) => readDue(this.#pool, queries),
      judge,
      now: () => this.#now(),
      mayStart: () => performance.now() < this.#leaseUntil,
      onAttempt: (attempt: Attempt) => logAttempt(this.#log, attempt),
      onDisable: (webhook: Webhook, reason: string) => void this.#disable(webhook, reason).catch(this.#fail),
      onError: this.#fail,
    };
    const { disableAfterFailures: failures, disableAfterDays: days } = this.#settings;
    const health = await readHealth(this.#pool, numbers);
    const failing = new Set(health.keys());
    const dispatcher = new Dispatcher(options, new Breakers(health, { failures, days }));
    const waiting = await findWaiting(this.#pool, numbers);
    const configurations = await this.#configurations.of([...waiting.values()].map(({ tenantId }) => tenantId));
    for (const configuration of configurations.values()) dispatcher.update(configuration, waiting, failing);
    this.#dispatcher = dispatcher;
  }

  async #loop(reader: pg.Client, lanes: readonly Lane[]): Promise<void> {
    const doorbell = new Doorbell(reader, this.#settings.wake);
    await doorbell.setAwake();
    let groups: Group[] = groupByPosition(lanes).map((group) => ({ ...group, stamp: 0 }));
    let pulse: Pulse = { snapshot: '', sequenceValue: '' };
    while (!this.#stopping) {
      if (this.#rang) {
        this.#rang = false;
        await doorbell.wake();
      }
      if ((this.#dispatcher?.pending ?? 0) >= READ_AHEAD_MAX) {
        await this.#pause(2);
        continue;
      }
      const before = pulse;
      pulse = await readPulse(reader);
      if (pulse.sequenceValue !== before.sequenceValue) await doorbell.wake();
      let read = { changes: 0, more: false };
      if (pulse.snapshot !== before.snapshot || pulse.sequenceValue !== before.sequenceValue || groups.length > 1) {
        read = await this.#read(reader, groups);
        groups = merge(groups);
      }
      // what was read came with a later snapshot than the pulse, so the next pulse is compared with this one's
      if (read.more || read.changes > 0) {
        pulse = { snapshot: '', sequenceValue: pulse.sequenceValue };
        continue;
      }
      await this.#pause(await doorbell.rest(pulse.snapshot));
    }
    if (doorbell.mode !== 'awake') await doorbell.setAwake();
  }

  /** One window of each group: the first reads up to now, the others up to where the first one is, to join it there. */
  async #read(reader: pg.Client, groups: readonly Group[]): Promise<{ changes: number; more: boolean }> {
    const [head] = groups as [Group];
    const total = { changes: 0, more: groups.length > 1 };
    for (const group of groups) {
      const joins =
        group !== head && head.position.to === null && group.position.to === null && head.stamp > group.stamp;
      if (group.position.to === null) group.stamp = joins ? head.stamp : ++this.#stamps;
      const window = await readWindow(reader, group.lanes, group.position, joins ? head.position : undefined);
      await this.#take(group.lanes, window);
      group.position = window.after;
      total.changes += window.changes.length;
      total.more ||= window.more;
    }
    // everything from before we took over has been read
    if (!total.more) this.#begun.clear();
    return total;
  }

  /** MATCH, and on to the queues. */
  async #take(lanes: readonly number[], { changes, after }: Window): Promise<void> {
    const dispatcher = this.#dispatcher as Dispatcher;
    const changed = [
      ...new Set(changes.filter((change) => change.eventTypes.length === 0).map(({ tenantId }) => tenantId)),
    ];
    for (const tenantId of changed) this.#configurations.forget(tenantId);
    const configurations = await this.#configurations.of(changes.map(({ tenantId }) => tenantId));
    for (const configuration of configurations.values()) dispatcher.limit(configuration);
    if (changed.length > 0) {
      const waiting = await findWaitingOf(this.#pool, changed);
      const failing = await findFailing(this.#pool, changed);
      for (const tenantId of changed)
        dispatcher.update(configurations.get(tenantId) as TenantConfiguration, waiting, failing);
    }
    const matched = changes
      .filter(({ eventTypes }) => eventTypes.length > 0)
      .flatMap((change) =>
        match(change, configurations.get(change.tenantId) as TenantConfiguration, this.#incarnationOf(change)),
      )
      .filter(({ delivery }) => !this.#begun.has(delivery.id));
    const settle = this.#windows.open(lanes, after, matched.length);
    for (const { delivery, webhook, skip } of matched) {
      if (skip) dispatcher.skip(delivery, webhook, skip.code, skip.error, settle);
      else dispatcher.offer(delivery, webhook, settle);
    }
  }

  #incarnationOf({ id }: Change): string {
    if (this.#incarnations.length === 1) return this.#incarnations[0]?.incarnation as string;
    return this.#incarnations.find(({ startsAt }) => startsAt <= BigInt(id))?.incarnation as string;
  }

  async #disable(webhook: Webhook, reason: string): Promise<void> {
    this.#log.warn({ tenant: webhook.tenantId, webhook: webhook.id, reason }, 'webhook disabled');
    await this.#pool.query('select rowhook._disable_webhook($1, $2)', [webhook.id, reason]);
  }

  async #drain(): Promise<void> {
    await this.#dispatcher?.drain(DRAIN_MS);
    await this.#recorder?.flush();
  }

  #ring(): void {
    this.#rang = true;
    this.#wake();
  }

  /** Waits for a ring or a stop, this long at most. */
  async #pause(ms: number): Promise<void> {
    if (this.#rang || this.#stopping) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Groups that have come to the same position become one. */
function merge(groups: Group[]): Group[] {
  const [head, ...others] = groups as [Group, ...Group[]];
  const apart: Group[] = [];
  for (const group of others) {
    const met = group.position.to === null && head.position.to === null && group.position.from === head.position.from;
    if (met) head.lanes = [...head.lanes, ...group.lanes];
    else apart.push(group);
  }
  return [head, ...apart];
}

/** What the promise gives, or undefined when it fails or takes longer. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  return Promise.race([promise.catch(() => undefined), late]).finally(() => clearTimeout(timer));
}
