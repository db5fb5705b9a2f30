/**
 * From the reader to the recorder: the stages of one session, put together.
 *
 *     read/reader.ts           READ: reads the outbox
 *       │ window
 *       ▼
 *     daemon/intake.ts         MATCH: finds the webhooks of each change
 *       │ deliveries
 *       ▼
 *     dispatch/dispatcher.ts   queues, turns, parking
 *       │ request
 *       ▼
 *     DELIVER                  sends one request
 *       │ outcome
 *       ▼
 *     RECORD                   writes logs and positions
 *       │ committed
 *       ▼
 *     read/progress.ts         how far each lane is done
 */
import type pg from 'pg';
import type { Settings } from '../config/settings.ts';
import type { PoolerMode } from '../database/connections.ts';
import { Dispatcher } from '../dispatch/dispatcher.ts';
import type { Configurations } from '../match/configurations.ts';
import { filterVerdict } from '../match/match.ts';
import type { Attempt, Lane, Webhook } from '../model.ts';
import { type Logger, logAttempt } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { OpenWindows } from '../read/progress.ts';
import { ReadAhead } from '../read/read-ahead.ts';
import { Reader } from '../read/reader.ts';
import { Recorder } from '../record/recorder.ts';
import { Breakers } from '../retry/breaker.ts';
import { type DueQuery, readDue } from '../retry/parked-deliveries.ts';
import { readHealth } from '../retry/takeover.ts';
import type { SendsRequests } from '../roles.ts';
import { mayBeOfValue } from '../shared/isolate.ts';
import { within } from '../shared/timers.ts';
import { Handover } from './handover.ts';
import { Intake } from './intake.ts';
import type { Lease } from './lease.ts';
import { RenderedBodies } from './rendered-bodies.ts';
import { ThinEvents } from './thin-events.ts';

/** Extra time for recording attempts that ended just before the deadline. */
const GIVE_MARGIN_MS = 1_000;

export interface PipelineOptions {
  settings: Settings;
  log: Logger;
  metrics: Metrics;
  pool: pg.Pool;
  reader: pg.Client;
  lease: Lease;
  sessions: PoolerMode;
  /** Whether this daemon would receive a ring now. */
  hears(): boolean;
  sender: SendsRequests;
  /** Ends the session. */
  fail(error: Error): void;
}

export class Pipeline {
  readonly windows = new OpenWindows(() => this.recorder.positionsMoved());
  readonly breakers: Breakers;
  readonly dispatcher: Dispatcher;
  readonly stream: Reader;
  readonly handover: Handover;
  readonly recorder: Recorder;
  readonly #options: PipelineOptions;
  readonly #intake: Intake;
  readonly #bodies: RenderedBodies;
  readonly #ahead: ReadAhead;
  /** Epoch of each owned lane. */
  readonly #epochs = new Map<number, string>();

  constructor(options: PipelineOptions) {
    const { settings, log, metrics, pool, reader, lease, sender, fail } = options;
    this.#options = options;
    this.#bodies = new RenderedBodies(pool, (error, tenant) =>
      log.error({ err: error, tenant }, 'the database refuses to keep a template, so a replay may send another body'),
    );
    this.breakers = new Breakers({ failures: settings.disableAfterFailures, days: settings.disableAfterDays });
    this.recorder = new Recorder({
      pool,
      owner: lease.owner,
      epochs: this.#epochs,
      clock: lease,
      onUncounted: (error) =>
        log.warn({ err: error }, 'attempts could not be counted. They are counted from the log in a few seconds'),
      listener: () => this.dispatcher,
      maxInFlight: settings.maxInFlight,
      onWritten: (ms) => this.stream.flushTime.noteWrite(ms),
      positions: () => this.windows.done,
      onPositionsWritten: (moved) => this.windows.written(moved),
      isIdle: () => this.dispatcher.unsettled.count === 0,
      onRefused: (error, alone) => {
        const webhook = alone?.[0]?.delivery.webhookId;
        log.error(
          { err: error, webhook },
          'the database refuses to record attempts. Recording is retried until it succeeds',
        );
        if (webhook === undefined) return;
        this.breakers.block(webhook, true);
        this.dispatcher.setApart(alone ?? []);
      },
      onRecorded: (webhook) => this.breakers.block(webhook, false),
      onError: fail,
    });
    const dispatcherOptions = {
      maxInFlight: settings.maxInFlight,
      sender,
      bodies: this.#bodies,
      recorder: this.recorder,
      readDue: (queries: readonly DueQuery[]) => readDue(pool, queries),
      readWebhooks: (webhooks: readonly Webhook[]) => this.#intake.webhooks(webhooks),
      filterVerdict,
      clock: lease,
      onAttempt: (attempt: Attempt) => {
        logAttempt(log, attempt);
        metrics.count(attempt, lease.now());
      },
      onLate: (seconds: number) => metrics.timerWasLate(seconds),
      onDisable: (webhook: Webhook, reason: string) => void this.#disable(webhook, reason).catch(fail),
      onError: fail,
    };
    this.dispatcher = new Dispatcher(dispatcherOptions, this.breakers);
    const thin = new ThinEvents(
      (reason) => metrics.foundThin(reason),
      (source, error) =>
        log.warn({ source, error }, 'rows cannot be printed as JSON, so their events are thin. Run rowhook doctor'),
    );
    const listener = {
      unusable: ({ tenantId, id, unusable }: Webhook) =>
        log.error(
          { tenant: tenantId, webhook: id, reason: unusable },
          'a webhook cannot be used. Correct its row in webhook_configurations',
        ),
      leftOut: (tenant: string, webhooks: number, bytesMax: number) =>
        log.error(
          { tenant, webhooks, max_configuration_bytes: bytesMax },
          'webhooks of a tenant cannot be used, because all of them together take too much memory. Run rowhook doctor',
        ),
      loaded: (webhooks: number) => metrics.loadedWebhooks(webhooks),
    };
    this.#ahead = new ReadAhead(this.dispatcher.unsettled);
    const onUnreadable = (outbox: string, tenant: string | null, reason: string) =>
      log.error({ outbox, tenant, reason }, 'a change could not be read');
    this.#intake = new Intake(
      pool,
      this.dispatcher,
      this.windows,
      this.breakers,
      listener,
      thin,
      this.#ahead,
      ({ id, tenantId }, reason) => onUnreadable(id, tenantId, reason),
    );
    this.stream = new Reader(reader, {
      lent: options.sessions === 'transaction',
      hears: options.hears,
      ahead: this.#ahead,
      take: (scope, from, window) => this.#intake.take(scope, from, window),
      onJoined: (lane, tenantId) => this.windows.join(lane, tenantId),
      onCaughtUp: (lanes) => this.#intake.forgetBegun(lanes),
      onUnrung: (changes) => metrics.foundUnrung(changes),
      onUnreadable,
    });
    this.handover = new Handover({
      stream: this.stream,
      dispatcher: this.dispatcher,
      recorder: this.recorder,
      windows: this.windows,
      lease,
      epochs: this.#epochs,
      receive: (lanes) => this.receive(lanes),
    });
  }

  get configurations(): Configurations {
    return this.#intake.configurations;
  }

  /** Called after each renewal of the lease. */
  async renewed(): Promise<void> {
    this.stream.stayAwake(this.#options.lease.isQueueFilling);
    await this.handover.rebalance();
  }

  /** Continues where earlier owners of these lanes ended. */
  async receive(lanes: readonly Lane[]): Promise<void> {
    this.stream.stayAwake(this.#options.lease.isQueueFilling);
    for (const { lane, epoch } of lanes) this.#epochs.set(lane, epoch);
    const numbers = lanes.map(({ lane }) => lane);
    this.breakers.load(await readHealth(this.#options.pool, numbers));
    await this.#intake.begin(lanes);
    this.stream.join(lanes);
  }

  /**
   * Gives back each lane as soon as its attempts have ended, within `deadlineMs`. Then records all
   * remaining entries.
   */
  async drain(deadlineMs: number): Promise<void> {
    // The handover waits until sent requests are recorded, and the database may refuse to record
    // them.
    await within(deadlineMs + GIVE_MARGIN_MS, this.handover.giveAll(deadlineMs));
    this.dispatcher.stop();
    this.#bodies.stop();
    await this.recorder.flush();
  }

  /** Stops at once. What is not recorded does not count. */
  stop(): void {
    this.dispatcher.stop();
    this.#bodies.stop();
    this.recorder.stop();
  }

  async #disable(webhook: Webhook, reason: string): Promise<void> {
    const { log, pool } = this.#options;
    log.warn({ tenant: webhook.tenantId, webhook: webhook.id, reason }, 'webhook disabled');
    try {
      await pool.query('select rowhook._disable_webhook($1, $2)', [webhook.id, reason]);
    } catch (error) {
      // The webhook's row violates a constraint that it once evaded. Its breaker stays open, and
      // all other webhooks go on.
      if (!mayBeOfValue(error)) throw error;
      log.error(
        { err: error, tenant: webhook.tenantId, webhook: webhook.id },
        'a webhook cannot be disabled. Correct its row in webhook_configurations',
      );
    }
  }
}
