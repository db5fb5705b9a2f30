/** What the daemon counts, in Prometheus form. No label names a tenant or a URL: both are unbounded, and not everybody's to read. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Attempt } from './model.ts';

/** From a few milliseconds on a quiet system to the hours of a retry schedule. */
const LATENCY_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 1_800, 7_200, 86_400];

/** What is asked of the running session when a scrape comes. */
export interface Vitals {
  lanes: number;
  inFlight: number;
  pending: number;
  /** Webhooks whose circuit breaker is not closed. */
  breakersOpen: number;
  /** Seconds since the oldest event that is read and not done yet happened; 0 when there is none. */
  oldestUndeliveredSeconds: number;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #attempts: Counter<'outcome' | 'code'>;
  readonly #latency: Histogram;

  constructor(vitals: () => Vitals) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#attempts = new Counter({
      name: 'rowhook_deliveries_total',
      help: 'Attempts, and deliveries that were skipped, by outcome (success, failed, skipped) and code.',
      labelNames: ['outcome', 'code'],
      registers,
    });
    this.#latency = new Histogram({
      name: 'rowhook_delivery_latency_seconds',
      help: 'Seconds from the change of the row to the end of the response, of successful deliveries.',
      buckets: LATENCY_SECONDS,
      registers,
    });
    const gauge = (name: string, help: string, value: (now: Vitals) => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(value(vitals()));
        },
      });
    gauge('rowhook_lanes_held', 'Lanes (of 16) that this daemon owns; 0: it stands by.', ({ lanes }) => lanes);
    gauge('rowhook_in_flight', 'Attempts under way, or not recorded yet.', ({ inFlight }) => inFlight);
    gauge('rowhook_pending', 'Deliveries in memory that a position waits for.', ({ pending }) => pending);
    gauge('rowhook_breakers_open', 'Webhooks whose circuit breaker is not closed.', ({ breakersOpen }) => breakersOpen);
    gauge(
      'rowhook_oldest_undelivered_seconds',
      'Age of the oldest event that was read and is neither delivered nor parked.',
      ({ oldestUndeliveredSeconds }) => oldestUndeliveredSeconds,
    );
  }

  /** `now` in milliseconds on the database's clock. */
  count({ delivery, outcome }: Attempt, now: number): void {
    this.#attempts.inc({ outcome: outcome.status, code: outcome.code });
    if (outcome.status === 'success') this.#latency.observe(Math.max(0, now - delivery.change.occurredAt) / 1_000);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
