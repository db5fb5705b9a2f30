/**
 * One session of the daemon. It begins with taking lanes, and ends when the database is lost or a
 * stop is requested. Every database error that is not handled ends the session. The next session
 * (daemon/daemon.ts) starts with empty memory and reads its positions again. So errors need no
 * recovery code of their own.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { Maintenance } from '../capture/maintenance.ts';
import type { Settings } from '../config/settings.ts';
import { connectDaemon, endpointsOf, openPool, type PoolerMode, poolerModeOf } from '../database/connections.ts';
import { explainDatabaseError } from '../database/explain-error.ts';
import { type Bell, listen, type Ring } from '../database/notification-listener.ts';
import { timeRoundTrips } from '../database/statement-timing.ts';
import { createSender, type Sender } from '../deliver/sender.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics, Vitals } from '../observe/metrics.ts';
import { type Responsible, STUCK_MS } from '../observe/stuck-lanes.ts';
import type { Tracing } from '../observe/tracing.ts';
import { READER_SETTINGS } from '../read/windows.ts';
import { everyMs, within } from '../shared/timers.ts';
import { RENEW_MS } from './lane-rows.ts';
import { Lease } from './lease.ts';
import { Pipeline } from './pipeline.ts';

/** How long attempts in flight may go on after a stop. */
export const DRAIN_MS = 10_000;

/** Pause between two checks of the lanes that a ring caused. */
const RING_PAUSE_MS = 100;

/** Limit on the time for closing connections. */
const CLOSE_MS = 2_000;

/** Two connections for recording, and one each for configurations, parked deliveries and leases. */
const POOL_MAX = 5;

export const STARTING = 'the daemon is starting, or the database does not answer';

export interface SessionOptions {
  /**
   * A uuid, the same for all sessions of a daemon. A session need not wait for lanes of an earlier
   * one.
   */
  owner: string;
  /** The schema version that this rowhook was made for. */
  schemaVersion: number;
  settings: Settings;
  log: Logger;
  metrics: Metrics;
  tracing: Tracing | undefined;
}

export class Session {
  readonly #options: SessionOptions;
  readonly #sessions: PoolerMode;
  readonly #lease: Lease;
  readonly #pool: pg.Pool;
  readonly #sender: Sender;
  #databaseEndpoints: Awaited<ReturnType<typeof endpointsOf>> = [];
  #pipeline: Pipeline | undefined;
  #maintenance: Maintenance | undefined;
  readonly #stopping = new AbortController();
  #hasEnded = false;
  #endedBecause: string | undefined;
  #lanesRang = false;
  #looking: Promise<void> | undefined;
  #fail: (error: Error) => void = () => {};
  readonly #failed: Promise<never>;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.#failed.catch(() => {});
    this.#sessions = poolerModeOf(options.settings.wake);
    this.#pool = openPool(options.settings.databaseUrl, {
      applicationName: 'rowhook',
      max: POOL_MAX,
      sessions: this.#sessions,
      onError: (error) => this.#fail(error),
    });
    this.#pool.on('connect', this.#timeRoundTrips);
    this.#lease = new Lease(options.owner, this.#pool, options.log);
    this.#sender = createSender(options.settings, {
      closed: () => this.#databaseEndpoints,
      proxy: options.settings.proxyUrl,
    });
  }

  /** Stops reading, lets attempts in flight end, records them, and gives back the lanes. */
  stop(): void {
    this.#stopping.abort();
    this.#pipeline?.stream.stop();
    if (this.#pipeline) return;
    // Each host that does not answer takes connect_timeout.
    const giveUp = () => this.#pipeline ?? this.#fail(new Error('the daemon was stopped before the database answered'));
    setTimeout(giveUp, CLOSE_MS).unref();
  }

  /** Whether the schema version differs from the one that this rowhook was made for. */
  get wasMigrated(): boolean {
    const { schemaVersion } = this.#lease;
    return schemaVersion !== undefined && schemaVersion !== this.#options.schemaVersion;
  }

  get vitals(): Vitals {
    const oldest = this.#pipeline?.windows.oldestOccurredAt;
    return {
      lanes: this.#lease.ownedLanes.length,
      inFlight: this.#pipeline?.dispatcher.inFlight ?? 0,
      pending: this.#pipeline?.dispatcher.unsettled.count ?? 0,
      breakersOpen: this.#pipeline?.breakers.openCount ?? 0,
      configurations: this.#pipeline?.configurations,
      oldestUndeliveredSeconds: oldest === undefined ? 0 : Math.max(0, this.#lease.now() - oldest) / 1_000,
      notifyQueueUsage: this.#lease.queueUsage,
      sourcesNotCaptured: this.#lease.ownedLanes.includes(0) ? this.#maintenance?.sourcesNotCaptured : undefined,
    };
  }

  /** The owner whose lanes this session is responsible for. */
  get responsible(): Responsible {
    const { owner, standingBy } = this.#lease;
    return { owner, standingBy, isSearching: this.#pipeline?.stream.reads.isSearching ?? false };
  }

  /** Why a restart of the process may help. Null: a restart would not help. */
  get healthProblem(): string | null {
    const { stream, windows } = this.#pipeline ?? {};
    const { lateMs } = stream?.reads ?? { lateMs: 0 };
    if (lateMs > STUCK_MS) return `the read loop has not run for ${Math.round(lateMs)} ms`;
    // Unfinished deliveries are parked after a second. So an old window means: nothing is recorded.
    if (windows && windows.oldestOpenMs > STUCK_MS)
      return `an event has been undelivered for ${Math.round(windows.oldestOpenMs)} ms and is not parked`;
    return null;
  }

  /**
   * Why this daemon delivers nothing. Null: it delivers, or another daemon does. `endedBefore` is
   * the reason why the last session ended.
   */
  readyProblem(endedBefore: string | undefined): string | null {
    if (this.#lease.standingBy) return null;
    if (this.#lease.ownedLanes.length === 0) return endedBefore ?? this.#endedBecause ?? STARTING;
    if (!this.#lease.isValid) return 'the lease could not be renewed, because the database does not answer';
    return this.healthProblem;
  }

  /**
   * Resolves after stop(), or when the session owns no lanes any more. Rejects when the database or
   * a lane is lost.
   */
  async run(): Promise<void> {
    const { settings, log } = this.#options;
    let connecting: Promise<pg.Client> | undefined;
    let listening: Promise<Bell> | undefined;
    let bell: Bell | undefined;
    const orFail = <T>(work: Promise<T>): Promise<T> => Promise.race([work, this.#failed]);
    const timers: NodeJS.Timeout[] = [];
    try {
      const lanes = await orFail(this.#lease.begin(this.#stopping.signal));
      if (this.#stopping.signal.aborted || this.wasMigrated) return;
      const onLate = (seconds: number) => this.#options.metrics.timerWasLate(seconds);
      timers.push(everyMs(RENEW_MS, onLate, () => void this.#renew().catch(this.#fail)));
      const maintenance = new Maintenance(this.#pool, settings.retentionDays, log);
      this.#maintenance = maintenance;
      await orFail(maintenance.prepare());
      // Only the daemon that owns the first lane runs maintenance.
      const maintain = () => void (this.#lease.ownedLanes.includes(0) && maintenance.run());
      timers.push(setInterval(maintain, maintenance.everyMs));
      connecting = connectDaemon(settings.databaseUrl, 'rowhook reader', this.#sessions);
      const reader = await orFail(connecting);
      this.#timeRoundTrips(reader);
      reader.on('error', this.#fail);
      reader.on('end', () => this.#fail(new Error('the reader connection ended')));
      if (this.#sessions === 'session') await orFail(reader.query(READER_SETTINGS));
      this.#databaseEndpoints = await orFail(endpointsOf(reader, settings.databaseUrl));
      const pipeline = new Pipeline({
        ...this.#options,
        pool: this.#pool,
        reader,
        lease: this.#lease,
        sessions: this.#sessions,
        hears: () => bell?.hears ?? false,
        sender: this.#options.tracing?.around(this.#sender) ?? this.#sender,
        fail: this.#fail,
      });
      this.#pipeline = pipeline;
      await orFail(pipeline.receive(lanes));
      if (settings.wake === 'notify') {
        const onRing = (ring: Ring) => (ring === 'lanes' ? this.#ringLanes() : pipeline.stream.ring());
        listening = listen(settings.databaseUrl, onRing, this.#fail);
        bell = await orFail(listening);
      }
      if (this.#stopping.signal.aborted) pipeline.stream.stop();
      // Maintenance may wait for a table's lock. Deliveries must not wait for it.
      maintain();
      await orFail(pipeline.stream.run());
      if (this.#stopping.signal.aborted) await orFail(this.#lease.leave());
      await orFail(pipeline.drain(DRAIN_MS));
    } catch (error) {
      // Set before closing, which takes a moment.
      this.#endedBecause = explainDatabaseError(error, settings.databaseUrl).message;
      throw error;
    } finally {
      this.#hasEnded = true;
      for (const timer of timers) clearInterval(timer);
      this.#pipeline?.stop();
      this.#maintenance?.stop();
      // A connection that does not answer must not delay the next session.
      await within(CLOSE_MS, this.#sender.close());
      await this.#lease.end(this.#stopping.signal.aborted);
      const bellClosed = listening?.then(({ close }) => close());
      const readerClosed = connecting?.then((client) => client.end());
      await within(CLOSE_MS, Promise.all([bellClosed, readerClosed, this.#pool.end()]));
    }
  }

  /**
   * Called when a ring says that lanes were freed. Anybody may ring, at any rate. So checks run one
   * at a time, with a pause.
   */
  #ringLanes(): void {
    this.#lanesRang = true;
    this.#looking ??= (async () => {
      while (this.#lanesRang && !this.#hasEnded) {
        this.#lanesRang = false;
        await this.#renew();
        await sleep(RING_PAUSE_MS);
      }
    })()
      .catch(this.#fail)
      .finally(() => {
        this.#looking = undefined;
      });
  }

  /** Renews the lease, and takes or gives back lanes up to the fair share. */
  async #renew(): Promise<void> {
    await this.#lease.renew();
    if (this.wasMigrated) this.stop();
    else await this.#pipeline?.renewed();
  }

  readonly #timeRoundTrips = (client: pg.ClientBase) =>
    timeRoundTrips(client, (seconds) => this.#options.metrics.roundTrip(seconds));
}
