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
import { type Responsible, STUCK_MS } from './backlog.ts';
import { Breakers } from './breaker.ts';
import type { Settings } from './config.ts';
import { connect, endpointsOf, openPool, QUERY_MS_MAX } from './db.ts';
import { createSender, type Sender } from './deliver.ts';
import { Dispatcher } from './dispatch.ts';
import { Intake } from './intake.ts';
import { type Lane, RENEW_MS } from './lanes.ts';
import { Lease, within } from './lease.ts';
import { type Bell, listen } from './listen.ts';
import { type Logger, logAttempt } from './log.ts';
import { Maintenance } from './maintain.ts';
import { judge } from './match.ts';
import type { Metrics, Vitals } from './metrics.ts';
import type { Attempt, Entry, Outcome, Request, Webhook } from './model.ts';
import { type DueQuery, readDue, readHealth } from './parked.ts';
import { READER_SETTINGS } from './read.ts';
import { Recorder } from './record.ts';
import { timeRoundTrips } from './round-trips.ts';
import { Stream } from './stream.ts';
import type { Tracing } from './tracing.ts';
import { OpenWindows } from './windows.ts';

/** How long attempts in flight may go on after a stop. */
export const DRAIN_MS = 10_000;

/** How long closing connections may take. */
const CLOSE_MS = 2_000;

/** Connections beside the reader's and the listener's: recording, configurations, parked deliveries, leases. */
const POOL_MAX = 4;

export class Session {
  readonly #settings: Settings;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #tracing: Tracing | undefined;
  readonly #lease: Lease;
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
  readonly #stopping = new AbortController();
  #fail: (error: Error) => void = () => {};
  readonly #failed: Promise<never>;

  /** `predecessor` is the session of this process before this one: its lanes need not be waited for. */
  constructor(
    settings: Settings,
    log: Logger,
    metrics: Metrics,
    tracing: Tracing | undefined,
    predecessor: Session | undefined,
  ) {
    this.#tracing = tracing;
    this.#predecessor = predecessor ? predecessor.#lease.owner : null;
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
    this.#pool.on('connect', (client) => this.#timeRoundTrips(client));
    this.#lease = new Lease(this.#pool, log);
    this.#sender = createSender(settings, { closed: () => this.#databaseEndpoints });
  }

  /** Ends the session in order: no more reading, attempts in flight may end, what they did is recorded, lanes go back. */
  stop(): void {
    this.#stopping.abort();
    this.#stream?.stop();
  }

  get vitals(): Vitals {
    const oldest = this.#windows.oldestOccurredAt;
    return {
      lanes: this.#lease.held,
      inFlight: this.#dispatcher?.inFlight ?? 0,
      pending: this.#dispatcher?.pending.count ?? 0,
      breakersOpen: this.#breakers?.openCount ?? 0,
      oldestUndeliveredSeconds: oldest === undefined ? 0 : Math.max(0, this.#lease.now() - oldest) / 1_000,
    };
  }

  /** Whose lanes it answers for. */
  get responsible(): Responsible {
    return { owner: this.#lease.owner, standingBy: this.#lease.standingBy };
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
    if (this.#lease.standingBy) return null;
    if (this.#lease.held === 0) return 'it is starting, or the database does not answer';
    if (!this.#lease.isValid) return 'the leases could not be renewed: the database does not answer';
    return this.healthProblem;
  }

  /** Resolves after stop(); rejects when the database or the lanes are lost. */
  async run(): Promise<void> {
    let reader: pg.Client | undefined;
    const timers: NodeJS.Timeout[] = [];
    try {
      const lanes = await Promise.race([this.#lease.take(this.#predecessor, this.#stopping.signal), this.#failed]);
      if (this.#stopping.signal.aborted) return;
      timers.push(setInterval(() => void this.#lease.renew().catch(this.#fail), RENEW_MS));
      timers.push(setInterval(() => this.#recorder?.tick(), RENEW_MS / 4));
      const maintenance = new Maintenance(this.#pool, this.#settings.retentionDays, this.#log);
      await maintenance.prepare();
      timers.push(setInterval(() => void maintenance.run(), maintenance.everyMs));
      reader = await connect(this.#settings.databaseUrl, 'rowhook reader', QUERY_MS_MAX);
      this.#timeRoundTrips(reader);
      reader.on('error', this.#fail);
      reader.on('end', () => this.#fail(new Error('the reader connection ended')));
      await reader.query(READER_SETTINGS);
      this.#databaseEndpoints = await endpointsOf(reader);
      const intake = await this.#assemble(lanes);
      const stream = new Stream(reader, lanes, {
        wake: this.#settings.wake,
        pending: () => this.#dispatcher?.pending ?? { count: 0, size: 0 },
        take: (of, window) => intake.take(of, window),
        onCaughtUp: () => intake.forgetBegun(),
      });
      this.#stream = stream;
      if (this.#settings.wake === 'notify') {
        this.#bell = await listen(this.#settings.databaseUrl, () => stream.ring(), this.#fail);
      }
      if (this.#stopping.signal.aborted) stream.stop();
      // a table whose lock it waits for must not keep deliveries waiting
      void maintenance.run();
      await Promise.race([stream.run(), this.#failed]);
      await Promise.race([this.#drain(), this.#failed]);
    } finally {
      for (const timer of timers) clearInterval(timer);
      this.#dispatcher?.stop();
      this.#recorder?.stop();
      await this.#sender.close();
      reader?.removeAllListeners('end');
      // a connection that does not answer must not keep the next session from starting
      await this.#lease.giveBack();
      await within(CLOSE_MS, Promise.all([this.#bell?.close(), reader?.end(), this.#pool.end()]));
    }
  }

  /** Everything between the reader and the recorder. */
  async #assemble(lanes: readonly Lane[]): Promise<Intake> {
    const numbers = lanes.map(({ lane }) => lane);
    const recorder = new Recorder({
      pool: this.#pool,
      owner: this.#lease.owner,
      epochs: new Map(lanes.map(({ lane, epoch }) => [lane, epoch])),
      onCommitted: (entries, heads) => this.#dispatcher?.committed(entries, heads),
      positions: () => this.#windows.done,
      onError: this.#fail,
    });
    this.#recorder = recorder;
    const options = {
      maxInFlight: this.#settings.maxInFlight,
      send: (request: Request) => this.#send(request),
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
    const { disableAfterFailures: failures, disableAfterDays: days } = this.#settings;
    const health = await readHealth(this.#pool, numbers);
    this.#breakers = new Breakers(health, { failures, days });
    this.#dispatcher = new Dispatcher(options, this.#breakers);
    const intake = new Intake(this.#pool, this.#dispatcher, this.#windows);
    const since = lanes.map(({ position }) => position.at).sort((a, b) => Date.parse(a) - Date.parse(b))[0] as string;
    await intake.begin(numbers, since, new Set(health.keys()));
    return intake;
  }

  #send(request: Request): Promise<Outcome> {
    return this.#tracing?.send(request, (traced) => this.#sender.send(traced)) ?? this.#sender.send(request);
  }

  #timeRoundTrips(client: pg.ClientBase): void {
    timeRoundTrips(client, (seconds) => this.#metrics.roundTrip(seconds));
  }

  async #disable(webhook: Webhook, reason: string): Promise<void> {
    this.#log.warn({ tenant: webhook.tenantId, webhook: webhook.id, reason }, 'webhook disabled');
    await this.#pool.query('select rowhook._disable_webhook($1, $2)', [webhook.id, reason]);
  }

  async #drain(): Promise<void> {
    await this.#dispatcher?.drain(DRAIN_MS);
    await this.#recorder?.flush();
  }
}
