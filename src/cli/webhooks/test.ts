import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { daemonRuns, theOne } from '../../operations/webhooks.ts';
import { type Out, printableLines } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';

interface TestLog {
  event_type: string;
  status: string;
  code: string;
  response_status: number | null;
  response_body: string | null;
  duration_ms: number | null;
  error: string | null;
}

const ASK_EVERY_MS = 200;

/** Queues a webhook's test deliveries and waits for their first attempts. Resolves to the exit code. */
export async function testWebhook(
  client: pg.Client,
  id: string,
  options: { wait: number; json?: boolean },
  out: Out,
): Promise<number> {
  await requireDaemon(client, id);
  const { outboxIds, count } = await queue(client, id);

  const until = performance.now() + options.wait * 1000;
  let logs = await firstAttempts(client, id, outboxIds);
  while (logs.length < count && performance.now() < until) {
    await sleep(ASK_EVERY_MS);
    logs = await firstAttempts(client, id, outboxIds);
  }

  for (const log of logs) print(log, options.json, out);
  if (logs.length < count) {
    throw new UserError(
      `${count - logs.length} of ${count} test deliveries were not attempted within ${options.wait} s: "rowhook logs --webhook ${id} --follow" shows when they are.`,
    );
  }
  return logs.every((log) => log.status === 'success') ? 0 : 1;
}

/** Without a daemon nothing would be delivered now, and a surprise some time later: so nothing is queued. */
async function requireDaemon(client: pg.Client, id: string): Promise<void> {
  const { rows } = await client.query('select from rowhook.webhook_configurations where id = $1', [id]);
  theOne(rows, id);
  if (!(await daemonRuns(client))) {
    throw new UserError('no daemon runs on this database: run "rowhook start", then test again. Nothing was queued.');
  }
}

/** The outbox rows of our own transaction are the test's, whoever else tests the same webhook. */
async function queue(client: pg.Client, id: string): Promise<{ outboxIds: string[]; count: number }> {
  await client.query('begin');
  const queued = await client.query<{ count: string }>('select rowhook.test($1::uuid) as count', [id]);
  const written = await client.query<{ id: string }>(
    'select id from rowhook.webhook_outbox where test_webhook_id = $1 and xid = pg_current_xact_id()',
    [id],
  );
  await client.query('commit');
  return { outboxIds: written.rows.map((row) => row.id), count: Number(queued.rows[0]?.count) };
}

/** An event's id is evt_<incarnation>_<outbox id>_<n>. */
async function firstAttempts(client: pg.Client, id: string, outboxIds: readonly string[]): Promise<TestLog[]> {
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

function print(log: TestLog, json: boolean | undefined, out: Out): void {
  if (json) {
    out.print(JSON.stringify(log));
    return;
  }
  const result = out.paint(log.status === 'success' ? 'green' : 'red', log.status);
  out.print([log.event_type, result, log.response_status ?? '', log.code, `${log.duration_ms ?? 0} ms`].join('  '));
  if (log.error) out.print(printableLines(log.error));
  if (log.response_body) out.print(printableLines(log.response_body));
}
