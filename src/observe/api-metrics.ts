/** The metrics of `rowhook serve`. No label names an organization, a key or a path. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from './prometheus.ts';

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export class ApiMetrics {
  readonly #registry = new Registry();
  readonly #requests: Counter;
  readonly #seconds: Histogram;

  /** `waiting`: requests that wait for a connection to the database. */
  constructor(waiting: () => number) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#requests = new Counter({
      name: 'rowhook_api_requests_total',
      help: 'Requests to the API, by method, route and status.',
      labelNames: ['method', 'route', 'status'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'rowhook_api_request_seconds',
      help: 'Seconds from a request to the end of its answer, by method and route.',
      labelNames: ['method', 'route'],
      buckets: SECONDS,
      registers,
    });
    new Gauge({
      name: 'rowhook_api_requests_waiting',
      help: 'Requests that wait for a connection to the database.',
      registers,
      collect() {
        this.set(waiting());
      },
    });
  }

  count(method: string, route: string, status: number, seconds: number): void {
    this.#requests.inc({ method, route, status: String(status) });
    this.#seconds.observe({ method, route }, seconds);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
