/**
 * The daemon's log: JSON lines on standard output, one wide line per attempt. It holds no bodies
 * and no secrets.
 */
import { type Logger, pino } from 'pino';
import type { Attempt } from '../model.ts';
import type { OutStream } from '../shared/terminal.ts';
import { humanLines } from './human-lines.ts';

export type { Logger };

/** `stream` is stdout. If it is a terminal, the lines are for people. */
export function createLogger(level: string, stream?: OutStream): Logger {
  const options = {
    level,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: ['*.secret', '*.authorization', '*.auth_config', 'secret', 'authorization', 'databaseUrl'],
    serializers: { err: brief },
  };
  return stream?.isTTY ? pino(options, humanLines(stream)) : pino(options);
}

/**
 * An error of PostgreSQL carries the failing row and the statement's context, so it holds data of
 * others. Only fields that name objects are logged.
 */
function brief(error: Error & Record<string, unknown>): Record<string, unknown> {
  const { name: type, message, stack, code, schema, table, column, constraint, routine } = error;
  return { type, message, code, schema, table, column, constraint, routine, stack };
}

/** The fields always have the same order, so that people and machines can read a line. */
export function logAttempt(log: Logger, { delivery, attempt, outcome, retryInMs }: Attempt): void {
  const level = outcome.status === 'success' ? 'debug' : 'warn';
  if (!log.isLevelEnabled(level)) return;
  log[level](
    {
      tenant: delivery.change.tenantId,
      webhook: delivery.webhookId,
      delivery: delivery.id,
      event: delivery.eventId,
      type: delivery.eventType,
      attempt,
      status: outcome.status,
      code: outcome.code,
      http: outcome.response?.status ?? null,
      ms: outcome.durationMs,
      retry_in_ms: retryInMs,
    },
    outcome.error ?? 'delivered',
  );
}
