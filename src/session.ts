/**
 * One session of the daemon: everything between taking lanes and losing the database, or being asked to stop. Whatever
 * goes wrong with the database ends the session; the next one (daemon.ts) begins with nothing in memory and reads its
 * positions again, so that no error has a path of its own.
 *
 *     stream.ts ──window──▶ intake.ts ──deliveries──▶ dispatch.ts ──request──▶ DELIVER ──outcome──▶ RECORD
 *     └ READ                └ MATCH                   └ queues, turns, parking                       └ logs, positions
 *          windows.ts: how far each lane is done ◀─────────────────────── committed ◀──────────────────┘
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type pg from 'pg';
import { Breakers } from './breaker.ts';
import type { Settings } from './config.ts';
import { connect, endpointsOf, openPool, PATIENT, QUERY_MS_MAX } from './db.ts';
import { createSender, type Sender } from './deliver.ts';
import { Dispatcher } from './dispatch.ts';
import { Intake } from './intake.ts';
import { giveLanesBack, type Lane, LEASE_MS, RENEW_MS, renewLanes, takeLanes } from './lanes.ts';
import { type Bell, listen } from './listen.ts';
import { type Logger, logAttempt } from './log.ts';
import { Maintenance } from './maintain.ts';
import { judge } from './match.ts';
import type { Metrics, Vitals } from './metrics.ts';
import type { Attempt, Entry, Request, Webhook } from './model.ts';
import { type DueQuery, readDue, readHealth } from './parked.ts';
import { READER_SETTINGS } from './read.ts';
import { LanesLost, Recorder } from './record.ts';
import { Stream } from './stream.ts';
import { OpenWindows } from './windows.ts';

/** Nothing is started in the last stretch of a lease: the renewal may be late. */
const LEASE_MARGIN_MS = 1_000;

/** How long attempts in flight may go on after a stop. */
const DRAIN_MS = 10_000;

/** How long giving lanes back, and closing connections, may take. */
const CLOSE_MS = 2_000;

/** A loop that is late by this much, or a window that is open for so long, is stuck. */
const STUCK_MS = 60_000;

/** Connections beside the reader's and the listener's: recording, configurations, parked deliveries, leases. */
const POOL_MAX = 4;

export class Session {
  readonly #settings: Settings;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #owner = randomUUID();
  readonly #predecessor: string | null;
  readonly #pool: pg.Pool;
  readonly #windows = new OpenWindows();
  readonly #sender: Sender;
  #databaseEndpoints: Awaited<ReturnType<typeof endpointsOf>> = [];
  #dispatcher: Dispatcher | undefined;
  #stream: Stream | undefined;
  #recorder: Recorder | undefined;
  #bell: Bell | undefined;
  #breakers: Breakers | undefined;
  #lanesHeld = 0;
  #standingBy = false;
  #stopping = false;
  #fail: (error: Error) => void = () => {};
  readonly #failed: Promise<never>;
  #wake: () => void = () => {};
  #leaseUntil = 0;
  #clockOffsetMs = 0;

  /** `predecessor` is the session of this process before this one: its lanes need not be waited for. */
  constructor(settings: Settings, log: Logger, metrics: Metrics, predecessor: Session | undefined) {
    this.#predecessor = predecessor ? predecessor.#owner : null;
    this.#settings = settings;
    this.#log = log;
    this.#metrics = metrics;
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
  }

  /** Ends the session in order: no more reading, attempts in flight may end, what they did is recorded, lanes go back. */
  stop(): void {
    this.#stopping = true;
    this.#wake();
    this.#stream?.stop();
  }

  get vitals(): Vitals {
    const oldest = this.#windows.oldestOccurredAt;
    return {
      lanes: this.#lanesHeld,
      inFlight: this.#dispatcher?.inFlight ?? 0,
      pending: this.#dispatcher?.pending ?? 0,
      breakersOpen: this.#breakers?.openCount ?? 0,
      oldestUndeliveredSeconds: oldest === undefined ? 0 : Math.max(0, this.#now() - oldest) / 1_000,
    };
  }

  /** Why a restart of the process may help; null: it would not. */
  get healthProblem(): string | null {
    if ((this.#stream?.lateMs ?? 0) > STUCK_MS)
      return `the loop has not turned for ${Math.round((this.#stream as Stream).lateMs)} ms`;
    // what does not finish is parked after a second, so an old window means that nothing is recorded
    if (this.#windows.oldestOpenMs > STUCK_MS)
      return `an event has been undelivered for ${Math.round(this.#windows.oldestOpenMs)} ms, without being parked`;
    return null;
  }

  /** Why nothing is delivered from here; null: it is, or another daemon does it. */
  get readyProblem(): string | null {
    if (this.#standingBy) return null;
    if (this.#lanesHeld === 0) return 'it is starting, or the database does not answer';
    if (performance.now() > this.#leaseUntil) return 'the leases could not be renewed: the database does not answer';
    return this.healthProblem;
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
      const intake = await this.#assemble(lanes);
      const stream = new Stream(reader, lanes, {
        wake: this.#settings.wake,
        pending: () => this.#dispatcher?.pending ?? 0,
        take: (of, window) => intake.take(of, window),
        onCaughtUp: () => intake.forgetBegun(),
      });
      this.#stream = stream;
      if (this.#settings.wake === 'notify') {
        this.#bell = await listen(this.#settings.databaseUrl, () => stream.ring(), this.#fail);
      }
      if (this.#stopping) stream.stop();
      await Promise.race([stream.run(), this.#failed]);
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
    while (!this.#stopping) {
      const askedAt = performance.now();
      const lanes = await takeLanes(this.#pool, this.#owner, `${hostname()}:${process.pid}`, this.#predecessor);
      if (lanes.length > 0) {
        this.#leaseUntil = askedAt + LEASE_MS - LEASE_MARGIN_MS;
        await this.#renew(lanes.length);
        this.#log.info({ lanes: lanes.length }, 'took lanes');
        this.#lanesHeld = lanes.length;
        this.#standingBy = false;
        return lanes;
      }
      if (!this.#standingBy) this.#log.info('standing by: another daemon holds the lanes');
      this.#standingBy = true;
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

  /** Everything between the reader and the recorder. */
  async #assemble(lanes: readonly Lane[]): Promise<Intake> {
    const numbers = lanes.map(({ lane }) => lane);
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
      onAttempt: (attempt: Attempt) => {
        logAttempt(this.#log, attempt);
        this.#metrics.count(attempt, this.#now());
      },
      onDisable: (webhook: Webhook, reason: string) => void this.#disable(webhook, reason).catch(this.#fail),
      onError: this.#fail,
    };
    const { disableAfterFailures: failures, disableAfterDays: days } = this.#settings;
    const health = await readHealth(this.#pool, numbers);
    this.#breakers = new Breakers(health, { failures, days });
    this.#dispatcher = new Dispatcher(options, this.#breakers);
    const intake = new Intake(this.#pool, this.#dispatcher, this.#windows);
    const since = lanes.map(({ position }) => position.at).sort((a, b) => Date.parse(a) - Date.parse(b))[0] as string;
    await intake.begin(numbers, since, new Set(health.keys()));
    return intake;
  }

  async #disable(webhook: Webhook, reason: string): Promise<void> {
    this.#log.warn({ tenant: webhook.tenantId, webhook: webhook.id, reason }, 'webhook disabled');
    await this.#pool.query('select rowhook._disable_webhook($1, $2)', [webhook.id, reason]);
  }

  async #drain(): Promise<void> {
    await this.#dispatcher?.drain(DRAIN_MS);
    await this.#recorder?.flush();
  }

  /** Waits for a stop, this long at most. */
  async #pause(ms: number): Promise<void> {
    if (this.#stopping) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** What the promise gives, or undefined when it fails or takes longer. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  return Promise.race([promise.catch(() => undefined), late]).finally(() => clearTimeout(timer));
}
