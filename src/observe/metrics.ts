/**
 * The daemon's metrics in Prometheus form. No label names a tenant or a webhook unless the operator
 * turns that on, because both are unbounded and not everybody may see them. A URL is never a label.
 */

import type { Attempt } from '../model.ts';
import { addInboundGauges } from './inbound-state.ts';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from './prometheus.ts';
import type { StuckLaneWatcher } from './stuck-lanes.ts';

/** From a few milliseconds on a quiet system to the hours of a retry schedule. */
const LATENCY_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 1_800, 7_200, 86_400];

/** A poll takes 0.1 ms, a batch of 500 about 20 ms. */
const ROUND_TRIP_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 10];

/** Lags of the event loop. */
const LAG_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/**
 * prom-client measures the loop's lag with a timer that wakes an idle process at least 10 times a
 * second. That is a third of a sleeping daemon's CPU cost. rowhook uses timers that run anyway
 * (shared/timers.ts), mostly while there is work.
 */
const OF_NO_USE = ['', '_min', '_max', '_mean', '_stddev', '_p50', '_p90', '_p99'].map(
  (figure) => `nodejs_eventloop_lag${figure}_seconds`,
);
const NEVER_MS = 2 ** 31 - 1;

/** Labels of rowhook_deliveries_total besides outcome and code. */
const EXTRA_LABELS = { none: [], tenant: ['tenant'], webhook: ['tenant', 'webhook'] } as const;
export type MetricsLabels = keyof typeof EXTRA_LABELS;

/** Values that a scrape reads from the running session. */
export interface Vitals {
  lanes: number;
  inFlight: number;
  pending: number;
  /** Webhooks whose circuit breaker is not closed. */
  breakersOpen: number;
  /** Of the configurations in memory: bytes, and webhooks that do not fit. Undefined: no session. */
  configurations?: { bytes: number; leftOut: number } | undefined;
  /**
   * Seconds since the oldest event happened that was read and is not finished. 0: there is none.
   */
  oldestUndeliveredSeconds: number;
  /**
   * Watched tables with a capture problem. Undefined: another daemon checks them, or no check has
   * run yet.
   */
  sourcesNotCaptured?: number | undefined;
  /** Undefined: not known yet. */
  notifyQueueUsage?: number | undefined;
}

export interface MetricsOptions {
  labels: MetricsLabels;
  maxInFlight: number;
  vitals(): Vitals;
  backlog: Pick<StuckLaneWatcher, 'oldestSeconds' | 'oldestLaggingSeconds' | 'tenantsLagging' | 'counts'>;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #labels: MetricsLabels;
  readonly #attempts: Counter;
  readonly #latency: Histogram;
  readonly #roundTrips: Histogram;
  readonly #lag: Histogram;
  readonly #unrung: Counter;
  readonly #thin: Counter;
  readonly #webhooksLoaded: Counter;

  constructor({ labels, maxInFlight, vitals, backlog }: MetricsOptions) {
    this.#labels = labels;
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: NEVER_MS });
    for (const name of OF_NO_USE) this.#registry.removeSingleMetric(name);
    this.#attempts = new Counter({
      name: 'rowhook_deliveries_total',
      help: 'Attempts and skipped deliveries, by outcome (success, failed, skipped) and code.',
      labelNames: ['outcome', 'code', ...EXTRA_LABELS[labels]],
      registers,
    });
    // rate() misses the first increment of a series that appears with that increment.
    if (labels === 'none') {
      this.#attempts.inc({ outcome: 'success', code: 'delivered' }, 0);
      this.#attempts.inc({ outcome: 'failed', code: 'http_error' }, 0);
      this.#attempts.inc({ outcome: 'failed', code: 'timeout' }, 0);
    }
    this.#latency = new Histogram({
      name: 'rowhook_delivery_latency_seconds',
      help: 'Seconds from the change of the row to the end of the response, for successful deliveries.',
      buckets: LATENCY_SECONDS,
      registers,
    });
    this.#roundTrips = new Histogram({
      name: 'rowhook_database_round_trip_seconds',
      help: 'Seconds from a statement to its answer. The count is the number of round trips to the database.',
      buckets: ROUND_TRIP_SECONDS,
      registers,
    });
    this.#lag = new Histogram({
      name: 'rowhook_event_loop_lag_seconds',
      help: 'Seconds by which timers were late. Measured 20 times a second under load, otherwise every 2 seconds.',
      buckets: LAG_SECONDS,
      registers,
    });
    this.#unrung = new Counter({
      name: 'rowhook_safety_poll_events_total',
      help:
        "Changes found by a sleeping daemon's safety poll because no notification arrived. " +
        'Above 0, notifications are being lost.',
      registers,
    });
    this.#thin = new Counter({
      name: 'rowhook_thin_changes_total',
      help:
        'Changes that contain only their key columns, by reason: ' +
        'too_large, or error_ followed by the SQLSTATE of the error.',
      labelNames: ['reason'],
      registers,
    });
    for (const reason of ['too_large', 'error_42501', 'error_0A000']) this.#thin.inc({ reason }, 0);
    this.#webhooksLoaded = new Counter({
      name: 'rowhook_webhooks_loaded_total',
      help: 'Webhooks that were read with their texts: when they are needed, after a change, or when dropped meanwhile.',
      registers,
    });
    const gauge = (name: string, help: string, value: (now: Vitals) => number | undefined) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          // NaN, because an unknown value must not look like 0.
          this.set(value(vitals()) ?? Number.NaN);
        },
      });
    gauge('rowhook_lanes_held', 'Lanes (of 16) that this daemon owns. 0: it stands by.', ({ lanes }) => lanes);
    gauge('rowhook_in_flight', 'Deliveries whose attempt is running or not recorded yet.', ({ inFlight }) => inFlight);
    gauge('rowhook_in_flight_limit', 'ROWHOOK_MAX_IN_FLIGHT: limit on rowhook_in_flight.', () => maxInFlight);
    gauge(
      'rowhook_pending',
      'Deliveries in memory that must finish or be parked before a position can move.',
      ({ pending }) => pending,
    );
    gauge(
      'rowhook_sources_not_captured',
      'Watched tables that were dropped or replaced, or lack a trigger or a column. ' +
        'Only one daemon reports a number. The other daemons report NaN.',
      ({ sourcesNotCaptured }) => sourcesNotCaptured,
    );
    gauge(
      'rowhook_rows_without_tenant',
      'Changes without an event because the tenant column of their row is null. ' +
        'The true number may be higher. Every daemon reports the same number.',
      () => backlog.counts?.rowsWithoutTenant,
    );
    gauge('rowhook_notify_queue_usage', "Used share of the server's NOTIFY queue.", (now) => now.notifyQueueUsage);
    gauge('rowhook_breakers_open', 'Webhooks whose circuit breaker is not closed.', ({ breakersOpen }) => breakersOpen);
    gauge(
      'rowhook_configuration_bytes',
      'Bytes of configurations in memory, about.',
      (now) => now.configurations?.bytes,
    );
    gauge(
      'rowhook_webhooks_left_out',
      'Webhooks in memory that are not used, because those of their tenant take more than max_configuration_bytes.',
      (now) => now.configurations?.leftOut,
    );
    gauge(
      'rowhook_oldest_undelivered_seconds',
      'Seconds since the oldest event happened that is neither delivered nor parked, in the whole database, ' +
        'except those of tenants that lag. Every daemon reports the same number.',
      ({ oldestUndeliveredSeconds }) =>
        backlog.oldestSeconds && Math.max(backlog.oldestSeconds, oldestUndeliveredSeconds),
    );
    gauge(
      'rowhook_lagging_tenants',
      'Tenants that are read by themselves, because they have more to deliver than their share of memory. ' +
        'Every daemon reports the same number.',
      () => backlog.tenantsLagging,
    );
    gauge(
      'rowhook_oldest_lagging_seconds',
      'Seconds since the oldest event of a tenant that lags happened that is neither delivered nor parked. ' +
        'Every daemon reports the same number.',
      () => backlog.oldestLaggingSeconds,
    );
    gauge(
      'rowhook_log_partitions_ahead',
      'Days after today that have a partition of webhook_logs. Below 7, partitions cannot be created.',
      () => backlog.counts?.logDaysAhead,
    );
    new Gauge({
      name: 'rowhook_parked_deliveries',
      help:
        'Deliveries in webhook_deliveries, by state (waiting, given_up). ' +
        'Counted once a minute. Every daemon reports the same number.',
      labelNames: ['state'],
      registers,
      collect() {
        this.set({ state: 'waiting' }, backlog.counts?.parked.waiting ?? Number.NaN);
        this.set({ state: 'given_up' }, backlog.counts?.parked.givenUp ?? Number.NaN);
      },
    });
    addInboundGauges(registers, () => backlog.counts?.inbound);
  }

  /** `now`: the database's clock. */
  count({ delivery, outcome }: Attempt, now: number): void {
    this.#attempts.inc({ outcome: outcome.status, code: outcome.code, ...this.#extra(delivery) });
    if (outcome.status === 'success') this.#latency.observe(Math.max(0, now - delivery.change.occurredAt) / 1_000);
  }

  roundTrip(seconds: number): void {
    this.#roundTrips.observe(seconds);
  }

  timerWasLate(seconds: number): void {
    this.#lag.observe(seconds);
  }

  foundUnrung(changes: number): void {
    this.#unrung.inc(changes);
  }

  loadedWebhooks(count: number): void {
    this.#webhooksLoaded.inc(count);
  }

  foundThin(reason: string): void {
    this.#thin.inc({ reason });
  }

  readonly contentType = this.#registry.contentType;

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #extra({ change, webhookId }: Attempt['delivery']): Record<string, string> {
    if (this.#labels === 'none') return {};
    return this.#labels === 'tenant' ? { tenant: change.tenantId } : { tenant: change.tenantId, webhook: webhookId };
  }
}
