/** Sends test events to a webhook. Returns values only. */
import type pg from 'pg';
import { UserError } from '../../shared/user-error.ts';
import { daemonRuns, theOne } from './webhooks.ts';

export interface TestLog {
  event_type: string;
  status: string;
  code: string;
  response_status: number | null;
  response_body: string | null;
  duration_ms: number | null;
  error: string | null;
}

/**
 * Without a daemon, nothing may be queued: the test events would be sent at some later time, when
 * nobody expects them.
 */
export async function requireDaemon(client: pg.Client, id: string): Promise<void> {
  const { rows } = await client.query('select from rowhook.webhook_configurations where id = $1', [id]);
  theOne(rows, id);
  if (!(await daemonRuns(client))) {
    throw new UserError(
      'no daemon is running on this database. Run "rowhook start", then test again. Nothing was queued.',
    );
  }
}

/** Other tests of the same webhook may run. Ours are the outbox rows of our own transaction. */
export async function queueTest(client: pg.Client, id: string): Promise<{ outboxIds: string[]; count: number }> {
  await client.query('begin');
  const queued = await client.query<{ count: string }>('select rowhook.test($1::uuid) as count', [id]);
  const written = await client.query<{ id: string }>(
    'select id from rowhook.webhook_outbox where test_webhook_id = $1 and xid = pg_current_xact_id()',
    [id],
  );
  await client.query('commit');
  return { outboxIds: written.rows.map((row) => row.id), count: Number(queued.rows[0]?.count) };
}

/** The id of an event is evt_<incarnation>_<outbox id>_<n>. */
export async function firstAttempts(client: pg.Client, id: string, outboxIds: readonly string[]): Promise<TestLog[]> {
  const { rows } = await client.query<TestLog>(
    `select l.event_type, l.status, l.code, l.response_status, l.response_body, l.duration_ms, l.error
       from rowhook.webhook_logs l
       join rowhook.webhook_configurations w on w.id = l.webhook_id and w.tenant_id = l.tenant_id
      where w.id = $1
        and l.attempted_at > now() - interval '1 hour'
        and split_part(l.event_id, '_', 3) = any ($2)
        and l.attempt <= 1
      order by l.id`,
    [id, outboxIds],
  );
  return rows;
}
