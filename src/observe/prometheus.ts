/** The parts of prom-client that both processes use. */
export { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
