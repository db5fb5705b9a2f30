/**
 * Starts tracing if OpenTelemetry's own variable names an endpoint. OpenTelemetry's packages take
 * 0.5 s to load and 40 MB of memory, so they are loaded only then.
 */

import type { SendsRequests } from '../roles.ts';
import type { Logger } from './log.ts';

export interface Tracing {
  /** A sender that sends each request in its own span, with the span's `traceparent`. */
  around(sender: SendsRequests): SendsRequests;
  /** Exports the remaining spans, for a few seconds at most. Never rejects. */
  close(): Promise<void>;
}

/** Undefined: tracing is not configured. */
export async function startTracing(log: Logger, env: NodeJS.ProcessEnv = process.env): Promise<Tracing | undefined> {
  const endpoint = env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT || env.OTEL_EXPORTER_OTLP_ENDPOINT;
  const isOff = env.OTEL_SDK_DISABLED?.toLowerCase() === 'true' || env.OTEL_TRACES_EXPORTER === 'none';
  if (!endpoint || isOff) return undefined;
  const protocol = env.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL || env.OTEL_EXPORTER_OTLP_PROTOCOL || 'http/json';
  if (protocol !== 'http/json')
    log.warn(
      { protocol },
      'this protocol is not supported. Traces are sent as http/json, which collectors accept on their HTTP port (4318)',
    );
  const { OtlpTracing } = await import('./otlp.ts');
  return new OtlpTracing(log, env);
}
