/** The daemon: runs one session after another until it is stopped. */
import { randomUUID } from 'node:crypto';
import { environmentProblem } from '../config/environment.ts';
import type { Settings } from '../config/settings.ts';
import { displayDatabase } from '../connection/target.ts';
import { explainAfterwards, poolerModeOf, withClient } from '../database/connections.ts';
import { requireSchema } from '../database/migrations.ts';
import { ReadOnlyDatabase, readOnlySetting } from '../database/read-only.ts';
import { proxyNotice } from '../deliver/proxy.ts';
import { serve } from '../observe/health-server.ts';
import { createLogger, type Logger } from '../observe/log.ts';
import { Metrics } from '../observe/metrics.ts';
import { STUCK_MS, StuckLaneWatcher } from '../observe/stuck-lanes.ts';
import { startTracing } from '../observe/tracing.ts';
import { UserError } from '../shared/user-error.ts';
import { Session, STARTING } from './session.ts';

/** Pause before the next session. It doubles while sessions end at once. */
const PAUSE_MS_MIN = 100;
const PAUSE_MS_MAX = 3_000;

const NOBODY = { owner: undefined, standingBy: false, isSearching: false };
const NO_VITALS = {
  lanes: 0,
  inFlight: 0,
  pending: 0,
  breakersOpen: 0,
  oldestUndeliveredSeconds: 0,
};

export interface Daemon {
  /** Stops the daemon in order. Every call returns the same promise. */
  stop(): Promise<void>;
  /** Port of /healthz, /readyz and /metrics. Null: HTTP is switched off. */
  httpPort: number | null;
  /** Returns why a restart may help, as a sentence. Null: nothing is wrong. */
  healthProblem: () => string | null;
  /**
   * Resolves when the daemon has ended. Rejects with a sentence if the daemon cannot go on because
   * the schema was migrated while it ran.
   */
  closed: Promise<void>;
}

/**
 * Starts a daemon, or explains in a sentence why it cannot run on this database. The daemon is
 * unhealthy when events stand still for `stuckMs`.
 */
export async function startDaemon(
  settings: Settings,
  log: Logger = createLogger(settings.logLevel),
  stuckMs = STUCK_MS,
): Promise<Daemon> {
  const schemaVersion = await checkDatabase(settings);
  const owner = randomUUID();
  let session: Session | undefined;
  let stopping = false;
  let wake = () => {};
  const backlog = new StuckLaneWatcher(settings.databaseUrl, poolerModeOf(settings.wake), log, stuckMs);
  const metrics = new Metrics({
    labels: settings.metricsLabels,
    maxInFlight: settings.maxInFlight,
    vitals: () => session?.vitals ?? NO_VITALS,
    backlog,
  });
  /** Why the last session ended. */
  let ended: Error | undefined;
  // A restart would not make the database writable.
  const healthProblem = () =>
    ended instanceof ReadOnlyDatabase && !session?.vitals.lanes
      ? null
      : (session?.healthProblem ?? backlog.problem(session?.responsible ?? NOBODY));
  const http =
    settings.httpPort === 0
      ? null
      : await serve(settings.httpHost, settings.httpPort, {
          healthProblem,
          readyProblem: () => (session ? session.readyProblem(ended?.message) : STARTING) ?? healthProblem(),
          metrics: async () => ({ contentType: metrics.contentType, text: await metrics.text() }),
        });
  const tracing = await startTracing(log);
  backlog.start();
  log.info({ wake: settings.wake, max_in_flight: settings.maxInFlight }, 'rowhook started');
  const { text, ...about } = proxyNotice(settings.proxyUrl, process.env) ?? {};
  if (text) log.info(about, text);

  const closed = (async () => {
    let pauseMs = PAUSE_MS_MIN;
    while (!stopping) {
      const startedAt = performance.now();
      session = new Session({ owner, schemaVersion, settings, log, metrics, tracing });
      try {
        await session.run();
      } catch (error) {
        log.error(
          { err: error },
          'the session ended with an error. A new session starts and reads its positions again',
        );
        ended = await explainAfterwards(error, settings.databaseUrl);
        if (ended instanceof ReadOnlyDatabase) log.error(ended.message);
      }
      if (stopping) break;
      // This version must not change the data of a newer schema.
      if (session.wasMigrated) await checkDatabase(settings);
      pauseMs = performance.now() - startedAt > PAUSE_MS_MAX ? PAUSE_MS_MIN : Math.min(pauseMs * 2, PAUSE_MS_MAX);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pauseMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  })().finally(async () => {
    await Promise.all([http?.close(), backlog.close(), tracing?.close()]);
    log.info('rowhook stopped');
  });
  // Callers may await `closed`, but need not: this avoids an unhandled rejection.
  closed.catch(() => {});

  return {
    closed,
    httpPort: http?.port ?? null,
    healthProblem,
    stop() {
      stopping = true;
      session?.stop();
      wake();
      return closed;
    },
  };
}

/**
 * Returns the schema version of the database. It is always the one that this rowhook was made for.
 */
async function checkDatabase(settings: Settings): Promise<number> {
  return withClient(settings.databaseUrl, 'rowhook', async (client) => {
    const { rows } = await client.query(
      `select pg_is_in_recovery() as standby,
              current_setting('server_version_num')::int as version,
              current_setting('server_version') as name`,
    );
    const [server] = rows;
    if (server.version < 150000) {
      throw new UserError(
        `This server is PostgreSQL ${server.name}, but rowhook needs 15 or later. Upgrade the server.`,
      );
    }
    if (server.standby) {
      throw new UserError(
        'This server is a hot standby. A standby does not list running transactions, so events would be lost. ' +
          'Connect to the primary.',
      );
    }
    const readOnly = await readOnlySetting(client);
    if (readOnly) throw new ReadOnlyDatabase(displayDatabase(settings.databaseUrl), readOnly);
    const version = await requireSchema(client);
    await checkEnvironment(client, settings.environment);
    return version;
  });
}

/**
 * A clone of production must not deliver to production's customers. The first environment that is
 * named is recorded.
 */
async function checkEnvironment(
  client: { query(text: string, values?: unknown[]): Promise<{ rows: { environment: string | null }[] }> },
  environment: string | undefined,
): Promise<void> {
  if (environment !== undefined) {
    await client.query(
      'update rowhook.webhook_installation set environment = $1, recorded_at = now() where environment is null',
      [environment],
    );
  }
  const recorded =
    (await client.query('select environment from rowhook.webhook_installation')).rows[0]?.environment ?? null;
  const problem = environmentProblem(recorded, environment);
  if (problem) throw new UserError(problem.sentence);
}
