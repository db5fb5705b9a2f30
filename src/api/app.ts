/** The HTTP server: plugins, limits of what clients may take, errors, headers, the log. */
import cors from '@fastify/cors';
import rateLimit from '@fastify/rate-limit';
import swagger from '@fastify/swagger';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { ApiMetrics } from '../observe/api-metrics.ts';
import { toJson } from './body.ts';
import { readyProblem } from './check.ts';
import { addHooks } from './dialects/hooks.ts';
import { addPoll } from './dialects/poll.ts';
import { headOf, refine } from './document/document.ts';
import { addOpenApiDocument } from './document/openapi.ts';
import { addDocs, isFileOfDocs } from './document/page.ts';
import { addInbound, COUNTED, inboundLimits } from './inbound/inbound.ts';
import { networkOf } from './network.ts';
import { addTestUrls } from './preview/test-urls.ts';
import { addPreview } from './preview/webhook-preview.ts';
import { Problem, toProblem } from './problem.ts';
import { addApiKeys } from './routes/api-keys.ts';
import { addAttempts } from './routes/attempts.ts';
import { addChanges } from './routes/changes.ts';
import { addDeliveries } from './routes/deliveries.ts';
import { addDialects } from './routes/dialects.ts';
import { addEvents } from './routes/events.ts';
import { addMe } from './routes/me.ts';
import { addOperators } from './routes/operators.ts';
import { addReplay } from './routes/replay.ts';
import { addTestEvent } from './routes/test-event.ts';
import { addWebhooks } from './routes/webhooks.ts';
import { compileValidator } from './schema.ts';
import type { Service } from './service.ts';
import { addConsole } from './sessions/console.ts';
import { addPortalLinks } from './sessions/portal-links.ts';
import { protect } from './sessions/security-headers.ts';
import { addSession } from './sessions/session.ts';
import { addStream } from './streams/stream.ts';

const BODY_BYTES_MAX = 1_048_576;

/** Limit on receiving a whole request: nobody needs longer for 1 MiB. */
const REQUEST_MS_MAX = 30_000;

const FAILURES_A_MINUTE = 60;

/** Of the OpenAPI document, without a token. It has hundreds of kilobytes. */
const DOCUMENTS_A_MINUTE = 120;

const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/** A segment of a path may be a tenant of 512 bytes, percent-encoded. */
const SEGMENT_LENGTH_MAX = 2_048;

export async function buildApp(service: Service, metrics: ApiMetrics): Promise<FastifyInstance> {
  const { settings } = service;
  const app = Fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_MS_MAX,
    http: { headersTimeout: REQUEST_MS_MAX / 2, maxHeaderSize: 16_384, connectionsCheckingInterval: 2_000 },
    routerOptions: { maxParamLength: SEGMENT_LENGTH_MAX },
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    // Those that are open are answered to the end.
    return503OnClosing: false,
    trustProxy: trust(settings.trustProxy),
    clientErrorHandler: answerBroken,
    frameworkErrors: (error, _, reply) => sendProblem(reply as FastifyReply, toProblem(error)),
  });
  app.decorateRequest('caller', null).decorateRequest('bodyProblem', null).decorateRequest('bodyText', '');
  app.setValidatorCompiler(compileValidator as never);
  app.setSerializerCompiler(() => toJson);
  readBodies(app);
  answerErrors(app, service);
  observe(app, service, metrics);

  await protect(app, Fastify());
  if (settings.corsOrigins.length > 0) {
    await app.register(cors, {
      origin: settings.corsOrigins,
      credentials: false,
      methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
      allowedHeaders: ['authorization', 'x-api-key', 'content-type', 'if-match', 'idempotency-key'],
      exposedHeaders: ['etag', 'location', 'retry-after', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset'],
      maxAge: 600,
    });
  }
  await app.register(rateLimit, { global: false });
  service.limits = {
    failures: app.createRateLimit({
      ...COUNTED,
      max: FAILURES_A_MINUTE,
      timeWindow: 60_000,
      keyGenerator: ({ ip }) => networkOf(ip),
    }),
    requests: app.createRateLimit({
      ...COUNTED,
      max: settings.apiRateLimit,
      timeWindow: 60_000,
      keyGenerator: (request) => service.limitedAs(request),
    }),
    documents: app.createRateLimit({
      ...COUNTED,
      max: DOCUMENTS_A_MINUTE,
      timeWindow: 60_000,
      keyGenerator: ({ ip }) => networkOf(ip),
    }),
    ...inboundLimits(app, service, FAILURES_A_MINUTE),
  };
  await app.register(swagger, {
    openapi: headOf(settings.publicUrl),
    exposeHeadRoutes: false,
    transformObject: (made) => refine('openapiObject' in made ? made.openapiObject : {}),
  });
  addRoutes(app, service);
  await addDocs(app, service);
  await addConsole(app, settings);
  await app.ready();
  return app;
}

/** A number is that of the proxies between the client and us. */
function trust(which: number | string[] | undefined): string[] | false | ((address: string, hop: number) => boolean) {
  return typeof which === 'number' ? (_, hop) => hop < which : (which ?? false);
}

function addRoutes(app: FastifyInstance, service: Service): void {
  addMe(app, service);
  addWebhooks(app, service);
  addApiKeys(app, service);
  addPortalLinks(app, service);
  addSession(app, service);
  addDialects(app, service);
  addAttempts(app, service);
  addDeliveries(app, service);
  addReplay(app, service);
  addTestEvent(app, service);
  addTestUrls(app, service);
  addEvents(app, service);
  addChanges(app, service);
  addOperators(app, service);
  addStream(app, service);
  addHooks(app, service);
  addPoll(app, service);
  addInbound(app, service);
  addPreview(app, service);
  addOpenApiDocument(app, service);
  const hidden = { schema: { hide: true } };
  app.route({ url: '/healthz', method: ['GET', 'HEAD'], ...hidden, handler: async () => 'ok\n' });
  app.route({
    url: '/readyz',
    method: ['GET', 'HEAD'],
    ...hidden,
    handler: async (_, reply) => {
      const problem = await readyProblem(service);
      return problem === null ? 'ok\n' : reply.code(503).send(`${problem}\n`);
    },
  });
}

/** A body is received before the token is checked, and parsed after (api/route.ts). */
function readBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    /^application\/([\w.-]+\+)?json(;|$)/i,
    { parseAs: 'buffer' },
    (_: FastifyRequest, bytes: Buffer, done: (error: Error | null, body?: unknown) => void) => done(null, bytes),
  );
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, _, done) => {
    request.bodyProblem = new Problem('unsupported_media_type', 'Send JSON, with content-type: application/json.');
    done(null, undefined);
  });
}

function answerErrors(app: FastifyInstance, { log }: Service): void {
  app.setErrorHandler((error, request, reply) => {
    const problem = toProblem(error);
    if (problem.status >= 500) {
      const err = problem.cause ?? error;
      log[problem.status === 500 ? 'error' : 'warn']({ err, route: request.routeOptions.url }, 'the request failed');
    }
    return sendProblem(reply, problem);
  });
  const routes = new Map<RegExp, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = [...routes.keys()].find(({ source }) => source === patternOf(url).source) ?? patternOf(url);
    routes.set(pattern, new Set([...(routes.get(pattern) ?? []), ...[method].flat()]));
  });
  app.setNotFoundHandler((request) => {
    const path = request.url.split('?')[0] ?? '';
    const allowed = [...routes].flatMap(([pattern, methods]) => (pattern.test(path) ? [...methods] : []));
    if (allowed.length === 0) throw new Problem('not_found', 'There is no such path. /api/openapi.json lists them.');
    const allow = [...new Set(allowed)].join(', ');
    throw new Problem('method_not_allowed', `This path allows ${allow}.`, { headers: { allow } });
  });
}

function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  reply.code(problem.status).headers(problem.headers).header('content-type', PROBLEM_TYPE);
  return reply.send(JSON.stringify(problem));
}

function patternOf(url: string): RegExp {
  return new RegExp(`^${url.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/:\w+/g, '[^/]+')}$`);
}

/** The log and the metrics hold the route, not the path, and never a query. */
function observe(app: FastifyInstance, { log }: Service, metrics: ApiMetrics): void {
  app.addHook('onSend', (request, reply, payload, done) => {
    if (request.url.startsWith('/api') && !isFileOfDocs(request.url)) reply.header('cache-control', 'no-store');
    done(null, payload);
  });
  app.addHook('onResponse', (request, { statusCode: status, elapsedTime: ms }, done) => {
    const { method, ip: address, caller } = request;
    const route = request.routeOptions.url ?? 'none';
    metrics.count(method, route, status, ms / 1_000);
    const about = { method, route, status, ms: Math.round(ms), address, tenant: caller?.tenantId, key: caller?.keyId };
    // A line for each refused request would let a flood fill the disk. The metrics count them.
    log[status >= 400 && status !== 429 ? 'info' : 'debug'](about, 'answered');
    done();
  });
}

const BROKEN: Readonly<Record<string, Problem>> = {
  ERR_HTTP_REQUEST_TIMEOUT: new Problem('timeout', 'The request did not arrive in time.'),
  HPE_HEADER_OVERFLOW: new Problem('headers_too_large', 'The headers may have 16 kB at most.'),
};

/** What is no HTTP request is answered as well, then its connection is closed. */
function answerBroken(error: Error & { code?: string }, socket: import('node:net').Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const problem = BROKEN[error.code ?? ''] ?? new Problem('bad_request', 'This is not an HTTP request.');
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 ${problem.status} ${problem.code}\r\nContent-Type: ${PROBLEM_TYPE}\r\nConnection: close\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
