/**
 * One session of the daemon: everything between taking lanes and losing the database, or being asked to stop. Whatever
 * goes wrong with the database ends the session; the next one (daemon.ts) begins with nothing in memory and reads its
 * positions again, so that no error has a path of its own.
 *
 *     stream.ts ──window──▶ intake.ts ──deliveries──▶ dispatch.ts ──request──▶ DELIVER ──outcome──▶ RECORD
 *     └ READ                └ MATCH                   └ queues, turns, parking                       └ logs, positions
 *          windows.ts: how far each lane is done ◀─────────────────────── committed ◀──────────────────┘
 */
import type pg from 'pg';
import { Breakers } from './breaker.ts';
import type { Settings } from './config.ts';
import { connect, endpointsOf, openPool, QUERY_MS_MAX } from './db.ts';
import { createSender, type Sender } from './deliver.ts';
import { Dispatcher } from './dispatch.ts';
import { Handover } from './handover.ts';
import { Intake } from './intake.ts';
import { type Lane, RENEW_MS } from './lanes.ts';
import { Lease, within } from './lease.ts';
import { readHealth } from './leftovers.ts';
import { type Bell, listen, type Ring } from './listen.ts';
import { type Logger, logAttempt } from './log.ts';
import { Maintenance } from './maintain.ts';
import { judge } from './match.ts';
import type { Metrics, Vitals } from './metrics.ts';
import type { Attempt, Entry, Request, Webhook } from './model.ts';
import { type DueQuery, readDue } from './parked.ts';
import { READER_SETTINGS } from './read.ts';
import { Recorder } from './record.ts';
import { Stream } from './stream.ts';
import type { Tracing } from './tracing.ts';
import { OpenWindows } from './windows.ts';

/** How long attempts in flight may go on after a stop. */
export const DRAIN_MS = 10_000;

/** How long closing connections may take. */
const CLOSE_MS = 2_000;

/** Connections beside the reader's and the listener's: recording, configurations, parked deliveries, leases. */
const POOL_MAX = 4;

/** Who is told of what it does. */
export interface Observers {
  log: Logger;
  metrics: Metrics;
  tracing: Tracing | undefined;
}

export class Session {
  readonly #schemaVersion: number;
  readonly #settings: Settings;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #lease: Lease;
  readonly #pool: pg.Pool;
  readonly #windows = new OpenWindows();
  readonly #sender: Sender;
  #databaseEndpoints: Awaited<ReturnType<typeof endpointsOf>> = [];
  /** Epoch of each lane that is held. */
  readonly #epochs = new Map<number, string>();
  readonly #breakers: Breakers;
  #dispatcher: Dispatcher | undefined;
  #intake: Intake | undefined;
  #stream: Stream | undefined;
  #recorder: Recorder | undefined;
  #handover: Handover | undefined;
  #bell: Bell | undefined;
  readonly #stopping = new AbortController();
  #fail: (error: Error) => void = () => {};
  readonly #failed: Promise<never>;

  /** `owner` is a uuid, the same for all sessions of a daemon: lanes of an earlier one need not be waited for. */
  constructor(owner: string, schemaVersion: number, settings: Settings, { log, metrics, tracing }: Observers) {
    this.#schemaVersion = schemaVersion;
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
    this.#pool.on('connect', (client) => metrics.timeRoundTrips(client));
    this.#lease = new Lease(owner, this.#pool, log);
    this.#breakers = new Breakers({ failures: settings.disableAfterFailures, days: settings.disableAfterDays });
    const sender = createSender(settings, { closed: () => this.#databaseEndpoints });
    this.#sender = tracing?.around(sender) ?? sender;
  }

  /** Ends the session in order: no more reading, attempts in flight may end, what they did is recorded, lanes go back. */
  stop(): void {
    this.#stopping.abort();
    this.#stream?.stop();
  }

  /** The schema is not the one any more that this rowhook was made for. */
  get wasMigrated(): boolean {
    const { schemaVersion } = this.#lease;
    return schemaVersion !== undefined && schemaVersion !== this.#schemaVersion;
  }

  get vitals(): Vitals {
    const oldest = this.#windows.oldestOccurredAt;
    return {
      lanes: this.#lease.held.length,
      standingBy: this.#lease.standingBy,
      leaseIsValid: this.#lease.isValid,
      lateMs: this.#stream?.lateMs ?? 0,
      inFlight: this.#dispatcher?.inFlight ?? 0,
      pending: this.#dispatcher?.pending.count ?? 0,
      breakersOpen: this.#breakers.openCount,
      oldestUndeliveredSeconds: oldest === undefined ? 0 : Math.max(0, this.#lease.now() - oldest) / 1_000,
    };
  }

  /** Resolves after stop(); rejects when the database or the lanes are lost. */
  async run(): Promise<void> {
    let reader: pg.Client | undefined;
    const timers: NodeJS.Timeout[] = [];
    try {
      const lanes = await Promise.race([this.#lease.begin(this.#stopping.signal), this.#failed]);
      if (this.#stopping.signal.aborted || this.wasMigrated) return;
      timers.push(setInterval(() => void this.#renew().catch(this.#fail), RENEW_MS));
      timers.push(setInterval(() => this.#recorder?.tick(), RENEW_MS / 4));
      const maintenance = new Maintenance(this.#pool, this.#settings.retentionDays, this.#log);
      await maintenance.prepare();
      // one daemon does it: the one with the first lane
      const maintain = () => void (this.#lease.held.includes(0) && maintenance.run());
      timers.push(setInterval(maintain, maintenance.everyMs));
      reader = await connect(this.#settings.databaseUrl, 'rowhook reader', QUERY_MS_MAX);
      this.#metrics.timeRoundTrips(reader);
      reader.on('error', this.#fail);
      reader.on('end', () => this.#fail(new Error('the reader connection ended')));
      await reader.query(READER_SETTINGS);
      this.#databaseEndpoints = await endpointsOf(reader);
      const stream = this.#assemble(reader);
      await this.#receive(lanes);
      if (this.#settings.wake === 'notify') {
        const onRing = (ring: Ring) => (ring === 'lanes' ? void this.#renew().catch(this.#fail) : stream.ring());
        this.#bell = await listen(this.#settings.databaseUrl, onRing, this.#fail);
      }
      if (this.#stopping.signal.aborted) stream.stop();
      // a table whose lock it waits for must not keep deliveries waiting
      maintain();
      await Promise.race([stream.run(), this.#failed]);
      await Promise.race([this.#drain(), this.#failed]);
    } finally {
      for (const timer of timers) clearInterval(timer);
      this.#dispatcher?.stop();
      this.#recorder?.stop();
      await this.#sender.close();
      reader?.removeAllListeners('end');
      // a connection that does not answer must not keep the next session from starting
      await this.#lease.end();
      await within(CLOSE_MS, Promise.all([this.#bell?.close(), reader?.end(), this.#pool.end()]));
    }
  }

  /** Everything between the reader and the recorder. */
  #assemble(reader: pg.Client): Stream {
    const recorder = new Recorder({
      pool: this.#pool,
      owner: this.#lease.owner,
      epochs: this.#epochs,
      onCommitted: (entries, heads) => this.#dispatcher?.committed(entries, heads),
      positions: () => this.#windows.done,
      onError: this.#fail,
    });
    const options = {
      maxInFlight: this.#settings.maxInFlight,
      send: (request: Request) => this.#sender.send(request),
      record: (entry: Entry) => recorder.add(entry),
      readDue: (queries: readonly DueQuery[]) => readDue(this.#pool, queries),
      judge,
      now: () => this.#lease.now(),
      mayStart: () => this.#lease.isValid,
      onAttempt: (attempt: Attempt) => {
        logAttempt(this.#log, attempt);
        this.#metrics.count(attempt, this.#lease.now());
      },
      onDisable: (webhook: Webhook, reason: string) => void this.#disable(webhook, reason).catch(this.#fail),
      onError: this.#fail,
    };
    const dispatcher = new Dispatcher(options, this.#breakers);
    const intake = new Intake(this.#pool, dispatcher, this.#windows);
    const stream = new Stream(reader, {
      wake: this.#settings.wake,
      pending: () => dispatcher.pending,
      take: (of, window) => intake.take(of, window),
      onCaughtUp: (lanes) => intake.forgetBegun(lanes),
    });
    this.#handover = new Handover({
      stream,
      dispatcher,
      recorder,
      windows: this.#windows,
      lease: this.#lease,
      epochs: this.#epochs,
      receive: (lanes) => this.#receive(lanes),
    });
    this.#recorder = recorder;
    this.#dispatcher = dispatcher;
    this.#intake = intake;
    this.#stream = stream;
    return stream;
  }

  /** Goes on where earlier owners of these lanes ended. */
  async #receive(lanes: readonly Lane[]): Promise<void> {
    for (const { lane, epoch } of lanes) this.#epochs.set(lane, epoch);
    const numbers = lanes.map(({ lane }) => lane);
    const health = await readHealth(this.#pool, numbers);
    this.#breakers.load(health);
    const since = lanes.map(({ position }) => position.at).sort((a, b) => Date.parse(a) - Date.parse(b))[0] as string;
    await this.#intake?.begin(numbers, since, new Set(health.keys()));
    this.#stream?.join(lanes);
  }

  /** Says that we are here, and sees to our fair share. */
  async #renew(): Promise<void> {
    await this.#lease.renew();
    if (this.wasMigrated) this.stop();
    else await this.#handover?.rebalance();
  }

  async #disable(webhook: Webhook, reason: string): Promise<void> {
    this.#log.warn({ tenant: webhook.tenantId, webhook: webhook.id, reason }, 'webhook disabled');
    await this.#pool.query('select rowhook._disable_webhook($1, $2)', [webhook.id, reason]);
  }

  /** Each lane is given back as soon as its attempts have ended. */
  async #drain(): Promise<void> {
    if (this.#stopping.signal.aborted) await this.#lease.leave();
    await this.#handover?.giveAll(DRAIN_MS);
    this.#dispatcher?.stop();
    await this.#recorder?.flush();
  }
}
