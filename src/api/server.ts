/** `rowhook serve`: starts the API, and stops it in order. */
import type { FastifyInstance } from 'fastify';
import type { ServeSettings } from '../config/settings.ts';
import { locate, openPool } from '../database/connections.ts';
import { ApiMetrics } from '../observe/api-metrics.ts';
import { type HttpServer, listenProblem, serve } from '../observe/health-server.ts';
import { createLogger, type Logger } from '../observe/log.ts';
import { buildApp } from './app.ts';
import { Authenticator } from './auth.ts';
import { checkDatabase } from './check.ts';
import { Groups } from './inbound/groups.ts';
import { UsedKeys } from './last-used.ts';
import { Service } from './service.ts';
import { Turnstile } from './turnstile.ts';

/** Limit on connecting to the database. */
const CONNECT_MS_MAX = 5_000;

/**
 * Limit on waiting for one of the connections. 2,000 requests at once take 10 connections of a busy
 * machine longer than the 5 s of a connect. Clients commonly give up after 30 s.
 */
const TURN_MS_MAX = 20_000;

/** Connections that the system may hold until they are accepted: 2,000 clients may come at once. */
const BACKLOG = 4_096;

/** Limit on finishing the requests that are being answered. */
const STOP_MS_MAX = 10_000;

/** A network that falls silent closes no connection. Longer than statement_timeout. */
const QUERY_MS_MAX = 15_000;

export interface Api {
  port: number;
  /** Null: metrics are switched off. */
  metricsPort: number | null;
  stop(): Promise<void>;
}

export async function startApi(settings: ServeSettings, log: Logger = createLogger(settings.logLevel)): Promise<Api> {
  await checkDatabase(settings.databaseUrl);
  await locate(settings.databaseUrl);
  const pool = openPool(settings.databaseUrl, {
    applicationName: 'rowhook api',
    max: settings.apiPool,
    sessions: 'unknown',
    connectMsMax: CONNECT_MS_MAX,
    queryMsMax: QUERY_MS_MAX,
    onError: (err) => log.warn({ err }, 'a connection to the database broke. Another one replaces it'),
  });
  const turnstile = new Turnstile(settings.apiPool, TURN_MS_MAX);
  const groups = new Groups(pool, turnstile, TURN_MS_MAX);
  const usedKeys = new UsedKeys(pool, turnstile, log);
  const metrics = new ApiMetrics(() => turnstile.waiting + groups.waiting);
  const service = new Service({
    settings,
    pool,
    turnstile,
    groups,
    authenticator: new Authenticator(settings),
    log,
    used: (keyId) => usedKeys.add(keyId),
  });
  let app: FastifyInstance | undefined;
  let metricsServer: HttpServer | null = null;
  const stop = async () => {
    await Promise.all([app && stopInOrder(app), metricsServer?.close()]);
    await usedKeys.write();
    await pool.end();
    log.info('rowhook serve stopped');
  };
  try {
    app = await buildApp(service, metrics);
    metricsServer = await serveMetrics(settings, metrics);
    await listen(app, settings);
  } catch (error) {
    await stop();
    throw error;
  }
  const { port } = app.addresses()[0] as { port: number };
  log.info({ host: settings.apiHost, port }, 'rowhook serve started');
  if (isForOthers(settings))
    log.warn('ROWHOOK_PUBLIC_URL is not set, so links to the console lead to this machine only');
  let stopped: Promise<void> | undefined;
  return {
    port,
    metricsPort: metricsServer?.port ?? null,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

/** Others reach it: over the network, or through a proxy in front of it. */
function isForOthers({ apiHost, publicUrl, trustProxy }: ServeSettings): boolean {
  const isLoopback = /^(localhost|127\..*|::1)$/.test(apiHost);
  return publicUrl === undefined && (!isLoopback || trustProxy !== undefined);
}

async function serveMetrics({ apiMetricsPort }: ServeSettings, metrics: ApiMetrics): Promise<HttpServer | null> {
  if (apiMetricsPort === 0) return null;
  const served = {
    healthProblem: () => null,
    readyProblem: () => null,
    metrics: async () => ({ contentType: metrics.contentType, text: await metrics.text() }),
  };
  return serve('127.0.0.1', apiMetricsPort, served, undefined, {
    port: 'ROWHOOK_API_METRICS_PORT',
    host: 'ROWHOOK_API_HOST',
    zero: ', or set 0 for no port',
  });
}

async function listen(app: FastifyInstance, { apiHost: host, apiPort: port }: ServeSettings): Promise<void> {
  try {
    await app.listen({ host, port, backlog: BACKLOG });
  } catch (error) {
    throw listenProblem(error as NodeJS.ErrnoException, host, port, {
      port: 'ROWHOOK_API_PORT',
      host: 'ROWHOOK_API_HOST',
      zero: ', or set 0 for a free one',
    });
  }
}

/** Answers what has begun, then ends what is left. */
async function stopInOrder(app: FastifyInstance): Promise<void> {
  const late = setTimeout(() => app.server.closeAllConnections(), STOP_MS_MAX);
  try {
    await app.close();
  } finally {
    clearTimeout(late);
  }
}
