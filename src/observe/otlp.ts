/**
 * Traces over OTLP/HTTP. Only this file imports OpenTelemetry. Each request is one span, and each
 * delivery one trace. The trace id is the delivery's id without dashes. So all attempts are found
 * together, whenever and by whichever daemon they were made, and also from a row of webhook_logs.
 * The endpoint, its headers, the service's name and the sampler come from OpenTelemetry's own
 * variables.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { DiagLogLevel, diag, type Span, SpanKind, SpanStatusCode, type Tracer } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  RandomIdGenerator,
  type Sampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { Request } from '../model.ts';
import type { Outcome } from '../outcome.ts';
import type { SendsRequests } from '../roles.ts';
import { VERSION } from '../shared/version.ts';
import type { Logger } from './log.ts';
import type { Tracing } from './tracing.ts';

/**
 * Limit on spans that wait for export. Further spans are dropped, because deliveries have priority.
 */
const QUEUE_MAX = 8_192;

/** Limit on the final export. A collector that does not answer must not delay the daemon's end. */
const CLOSE_MS_MAX = 3_000;

/**
 * A root span takes the trace id that was set last. This works because spans are created
 * synchronously.
 */
class DeliveryIds extends RandomIdGenerator {
  next = '';
  override generateTraceId = () => this.next;
}

export class OtlpTracing implements Tracing {
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;
  readonly #ids = new DeliveryIds();
  readonly #warn: (message: string) => void;

  constructor(log: Logger, env: NodeJS.ProcessEnv) {
    this.#warn = (message) => log.warn({ component: 'opentelemetry' }, message);
    diag.setLogger(
      { error: this.#warn, warn: this.#warn, info: () => {}, debug: () => {}, verbose: () => {} },
      { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
    );
    const named = resourceFromAttributes({ 'service.name': 'rowhook', 'service.version': VERSION });
    this.#provider = new TracerProvider({
      resource: defaultResource()
        .merge(named)
        .merge(detectResources({ detectors: [envDetector] })),
      sampler: samplerOf(env),
      idGenerator: this.#ids,
      spanProcessors: [
        new BatchSpanProcessor({
          exporter: new OTLPTraceExporter(),
          maxQueueSize: QUEUE_MAX,
        }),
      ],
    });
    this.#tracer = this.#provider.getTracer('rowhook', VERSION);
  }

  around(sender: SendsRequests): SendsRequests {
    return { send: (request) => this.#send(request, sender) };
  }

  async #send(request: Request, sender: SendsRequests): Promise<Outcome> {
    const span = this.#start(request);
    const { traceId, spanId, traceFlags } = span.spanContext();
    const traceparent = `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
    const outcome = await sender.send({ ...request, headers: { ...request.headers, traceparent } });
    if (outcome.response) span.setAttribute('http.response.status_code', outcome.response.status);
    if (outcome.remoteIp) span.setAttribute('network.peer.address', outcome.remoteIp);
    if (outcome.status !== 'success') {
      span.setAttribute('error.type', outcome.code);
      span.setStatus({ code: SpanStatusCode.ERROR, message: outcome.error ?? outcome.code });
    }
    span.end();
    return outcome;
  }

  async close(): Promise<void> {
    const ended = this.#provider
      .shutdown()
      .catch((error: Error) => this.#warn(`the last spans could not be exported: ${error.message}`));
    await Promise.race([ended, sleep(CLOSE_MS_MAX, undefined, { ref: false })]);
  }

  /** A span holds only the URL's host, because path and query may hold a secret. */
  #start({ method, url, headers, body }: Request): Span {
    const deliveryId = headers['X-Webhook-Delivery'] as string;
    const eventType = headers['X-Webhook-Event'] as string;
    // The table accepts some invalid URLs. The attempt itself reports such a URL.
    const address = URL.parse(url);
    this.#ids.next = deliveryId.replaceAll('-', '');
    return this.#tracer.startSpan(`deliver ${eventType}`, {
      kind: SpanKind.CLIENT,
      root: true,
      attributes: {
        'http.request.method': method,
        'http.request.body.size': body.length,
        'server.address': address?.hostname,
        'server.port': address ? Number(address.port) || (address.protocol === 'https:' ? 443 : 80) : undefined,
        'rowhook.event.id': headers['webhook-id'] as string,
        'rowhook.event.type': eventType,
        'rowhook.delivery.id': deliveryId,
      },
    });
  }
}

/** Every span is the root of its trace, so a sampler's rule for parents has no effect. */
function samplerOf({ OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG }: NodeJS.ProcessEnv): Sampler {
  switch (OTEL_TRACES_SAMPLER?.replace('parentbased_', '')) {
    case 'always_off':
      return new AlwaysOffSampler();
    case 'traceidratio':
      return new TraceIdRatioBasedSampler(Number(OTEL_TRACES_SAMPLER_ARG || 1));
    default:
      return new AlwaysOnSampler();
  }
}
