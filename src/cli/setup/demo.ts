/**
 * `rowhook demo`: rows in, webhooks out, on a machine with nothing but Node. Everything in it is real: the server, the
 * triggers, the daemon, HTTP, the signatures. What it writes and expects stands in demo/script.ts.
 */
import { existsSync } from 'node:fs';
import { relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { oneOf, wholeNumber } from '../../config/parse.ts';
import { type Logged, problems } from '../../demo/check.ts';
import type { Arrival } from '../../demo/receiver.ts';
import { REFUSED_ONCE, SCRIPT, type Step, TENANT, TRY_SQL } from '../../demo/script.ts';
import { printArrival } from '../../demo/show.ts';
import type { Stage } from '../../demo/stage.ts';
import { untilAskedToStop } from '../../shared/signals.ts';
import { type Out, printTable } from '../../shared/terminal.ts';
import { help, out, parsed } from '../define.ts';

interface DemoOptions {
  once: boolean;
  pg: 15 | 18;
  port?: number;
}

/** For one statement's events; a loaded machine is slow, a lost event never comes. */
const ARRIVE_MS_MAX = 20_000;
const LOOK_EVERY_MS = 10;

export function addDemo(program: Command): void {
  const command = program
    .command('demo')
    .description('see it work: a PostgreSQL of its own, CRM tables, a receiver and a daemon')
    .option('--once', 'exit when everything was delivered and logged')
    .option('--port <port>', "its PostgreSQL's port (default: a free one)", parsed('--port', wholeNumber(1, 65_535)))
    .option('--pg <major>', 'version of PostgreSQL, 15 or 18', parsed('--pg', oneOf(['15', '18'])), '18')
    .action(async ({ once = false, pg, ...rest }: { once?: boolean; port?: number; pg: string }) => {
      process.exitCode = await demo({ once, pg: pg === '15' ? 15 : 18, ...rest }, out);
    });
  help(
    command,
    ['rowhook demo', 'rowhook demo --once'],
    '',
    'Exit codes: 0 all was delivered and logged, 1 it was not, 2 wrong usage.',
  );
}

/** Resolves to the exit code. */
async function demo({ once, ...options }: DemoOptions, out: Out): Promise<number> {
  const { setStage } = await import('../../demo/stage.ts');
  // its server is its own: the PG… variables of libpq are about another one
  for (const name of Object.keys(process.env)) if (name.startsWith('PG')) delete process.env[name];
  let stopping = false;
  const asked = untilAskedToStop(() => process.exit(1)).then(() => {
    stopping = true;
  });
  let stage: Stage | undefined;
  // lines come in the order of the arrivals, though each asks the database for its commit first
  let shown = Promise.resolve();
  const show = (arrival: Arrival) => {
    shown = shown.then(async () => printArrival(out, arrival, stage && (await msFromCommit(stage, arrival))));
  };
  try {
    stage = await setStage(options, show, out);
    const played: Step[] = [];
    let allCame = true;
    for (const step of SCRIPT) {
      if (stopping || !allCame) break;
      played.push(step);
      allCame = await play(stage, step, () => stopping, out);
      await shown;
    }
    if (stopping) {
      out.print('\nStopped before its script ended.');
      return 1;
    }
    const found = await settle(stage, played, out);
    report(found, stage, out);
    if (!once) {
      printTries(stage, out);
      await asked;
      out.print(`\n${out.paint('dim', 'Stopping: the daemon first, then the receiver, then PostgreSQL.')}`);
    }
    return found.length === 0 ? 0 : 1;
  } finally {
    await stage?.close();
    await shown;
  }
}

/** Runs one statement and waits for its events; false when they did not all come. */
async function play({ client, receiver }: Stage, { says, sql, events }: Step, stopped: () => boolean, out: Out) {
  out.print(`\n${out.paint('dim', `-- ${says}`)}\n${sql};`);
  const isRefused = events.includes(REFUSED_ONCE);
  if (isRefused) receiver.refuseNext(REFUSED_ONCE);
  const wanted = receiver.arrivals.length + events.length + (isRefused ? 1 : 0);
  await client.query(sql);
  if (events.length === 0) out.print(out.paint('dim', '  nothing to send'));
  return until(() => stopped() || receiver.arrivals.length >= wanted);
}

/** Waits for the log to catch up, prints it, and says what is wrong. */
async function settle({ client, receiver, webhookId }: Stage, played: readonly Step[], out: Out): Promise<string[]> {
  const read = async () => {
    const logs = await client.query<Logged & { at: Date; response_status: number | null; duration_ms: number }>(
      `select attempted_at as at, event_id, event_type, attempt, status, response_status, duration_ms
         from rowhook.webhook_logs where webhook_id = $1 order by attempted_at, id`,
      [webhookId],
    );
    const parked = await client.query('select count(*)::int as count from rowhook.webhook_deliveries');
    return { logs: logs.rows, unfinished: parked.rows[0].count as number };
  };
  const expected = played.flatMap(({ events }) => events);
  await until(async () => {
    const { logs, unfinished } = await read();
    return logs.length >= receiver.arrivals.length && unfinished === 0;
  });
  const { logs, unfinished } = await read();
  out.print(`\n${out.paint('bold', 'rowhook.webhook_logs')}, one row for each attempt:\n`);
  printTable(
    out,
    ['attempted_at', 'event_type', 'attempt', 'status', 'http', 'ms', 'event_id'],
    logs.map(({ at, event_type, attempt, status, response_status, duration_ms, event_id }) => [
      at.toISOString().slice(11, 23),
      event_type,
      attempt,
      { text: status, style: status === 'success' ? 'green' : 'red' },
      response_status,
      duration_ms,
      event_id,
    ]),
  );
  return problems({ expected, refusedOnce: REFUSED_ONCE, seen: receiver.arrivals, logs, unfinished });
}

function report(found: readonly string[], { receiver }: Stage, out: Out): void {
  if (found.length === 0) {
    const events = new Set(receiver.arrivals.map(({ id }) => id)).size;
    const verdict = `All ${events} events arrived, each once, and the one that was refused once more; all verified and logged.`;
    out.print(`\n${out.paint('green', verdict)}`);
  } else {
    const sentences = found.map((sentence) => `  ${sentence}.`).join('\n');
    out.print(`\n${out.paint('red', 'The demo failed:')}\n${sentences}`);
  }
}

function printTries({ databaseUrl }: Stage, out: Out): void {
  const command = (rest: string) => `  DATABASE_URL='${databaseUrl}' \\\n    ${thisProgram()} ${rest}`;
  out.print(`
It goes on: whatever is delivered from now on is shown here, until Ctrl-C. The database is

  ${out.paint('bold', databaseUrl)}

${out.paint('bold', '1')}  Write a row, with psql or any other client, and see it arrive:

  psql '${databaseUrl}' \\
    -c "${TRY_SQL}"

${out.paint('bold', '2')}  Follow the log in another terminal:

${command('logs --follow')}

${out.paint('bold', '3')}  Send to a receiver of your own ("${thisProgram()} listen --port 4000" is one):

${command(`webhook create --tenant ${TENANT.id} --name mine \\\n      --url http://127.0.0.1:4000/ --events 'deal.*'`)}
`);
}

/** How this was called, so that what is printed can be called too: a checkout brings its own Node, a package its command. */
function thisProgram(): string {
  const script = relative(process.cwd(), process.argv[1] ?? '');
  if (script.endsWith('.ts')) return `npx node ${script}`;
  return existsSync('node_modules/.bin/rowhook') ? 'npx rowhook' : `node ${process.argv[1]}`;
}

/** Undefined once the outbox has let go of the event, which it does after days. */
async function msFromCommit({ client }: Stage, { at, id }: Arrival): Promise<number | undefined> {
  const { rows } = await client.query<{ ms: number }>(
    `select (extract(epoch from pg_xact_commit_timestamp(xid::xid)) * 1000)::float8 as ms
       from rowhook.webhook_outbox where id = $1`,
    [id.split('_')[2]],
  );
  return rows[0] && Math.max(0, Math.round(at - rows[0].ms));
}

/** Looks again and again, up to ARRIVE_MS_MAX. */
async function until(condition: () => boolean | Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + ARRIVE_MS_MAX;
  while (performance.now() < deadline) {
    if (await condition()) return true;
    await sleep(LOOK_EVERY_MS);
  }
  return false;
}
