/**
 * `rowhook demo`: rows in, webhooks out, on a machine that has only Node. Everything is real: the
 * server, the triggers, the daemon, HTTP and the signatures. demo/script.ts holds its statements and
 * the expected events.
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
import { type Cli, help, parsed } from '../define.ts';

interface DemoOptions {
  once: boolean;
  pg: 15 | 18;
  port?: number;
}

/** Limit on waiting for the events of one statement. A busy machine is slow. */
const ARRIVE_MS_MAX = 20_000;
const LOOK_EVERY_MS = 10;

export function addDemo(program: Command, cli: Cli): void {
  const command = program
    .command('demo')
    .description('see rowhook work, with its own PostgreSQL, CRM tables, receiver, daemon and API')
    .option('--once', 'exit when everything is delivered and logged')
    .option('--port <port>', 'port of its PostgreSQL (default: a free one)', parsed('--port', wholeNumber(1, 65_535)))
    .option('--pg <major>', 'PostgreSQL version, 15 or 18', parsed('--pg', oneOf(['15', '18'])), '18')
    .action(async ({ once = false, pg, ...rest }: { once?: boolean; port?: number; pg: string }) => {
      cli.process.exitCode = await demo({ once, pg: pg === '15' ? 15 : 18, ...rest }, cli.out);
    });
  help(
    command,
    ['rowhook demo', 'rowhook demo --once'],
    '',
    'Exit codes: 0 everything was delivered and logged, 1 something was not, 2 wrong usage.',
  );
}

/** Resolves to the exit code. */
async function demo({ once, ...options }: DemoOptions, out: Out): Promise<number> {
  const { setStage } = await import('../../demo/stage.ts');
  // The PG… variables of libpq describe another server.
  for (const name of Object.keys(process.env)) if (name.startsWith('PG')) delete process.env[name];
  let stopping = false;
  const asked = untilAskedToStop(process, () => process.exit(1)).then(() => {
    stopping = true;
  });
  let stage: Stage | undefined;
  // Each line needs a query for the time of its commit. The chain keeps the order of the arrivals.
  let shown = Promise.resolve();
  const show = (arrival: Arrival) => {
    shown = shown.then(async () => printArrival(out, arrival, stage && (await msFromCommit(stage, arrival))));
  };
  try {
    stage = await setStage({ ...options, hasConsole: !once }, show, out);
    const played: Step[] = [];
    let allCame = true;
    for (const step of SCRIPT) {
      if (stopping || !allCame) break;
      played.push(step);
      allCame = await play(stage, step, () => stopping, out);
      await shown;
    }
    if (stopping) {
      out.print('\nStopped before the end of the script.');
      return 1;
    }
    const found = await settle(stage, played, out);
    report(found, stage, out);
    if (!once) {
      printTries(stage, await stage.consoleLink(), out);
      await asked;
      out.print(`\n${out.paint('dim', 'Stopping: the daemon first, then the receiver, then PostgreSQL.')}`);
    }
    return found.length === 0 ? 0 : 1;
  } finally {
    await stage?.close();
    await shown;
  }
}

/** Runs one statement and waits for its events. Resolves to false if some did not arrive. */
async function play({ client, receiver }: Stage, { says, sql, events }: Step, stopped: () => boolean, out: Out) {
  out.print(`\n${out.paint('dim', `-- ${says}`)}\n${sql};`);
  const isRefused = events.includes(REFUSED_ONCE);
  if (isRefused) receiver.refuseNext(REFUSED_ONCE);
  const wanted = receiver.arrivals.length + events.length + (isRefused ? 1 : 0);
  await client.query(sql);
  if (events.length === 0) out.print(out.paint('dim', '  no events'));
  return until(() => stopped() || receiver.arrivals.length >= wanted);
}

/** Waits until all attempts are logged, prints the log, and returns what is wrong. */
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
    out.print(
      `\n${out.paint('green', `All ${events} events arrived, with valid signatures, and all attempts were logged.`)}`,
    );
    out.print('Each event arrived once, except the one that the receiver refused: it arrived twice.');
  } else {
    const sentences = found.map((sentence) => `  ${sentence}.`).join('\n');
    out.print(`\n${out.paint('red', 'The demo failed:')}\n${sentences}`);
  }
}

function printTries({ databaseUrl, apiUrl, apiKey }: Stage, consoleLink: string | null, out: Out): void {
  const command = (rest: string) => `  DATABASE_URL='${databaseUrl}' \\\n    ${thisProgram()} ${rest}`;
  out.print(`
The demo keeps running and prints every delivery. Stop it with Ctrl-C. Its database is

  ${out.paint('bold', databaseUrl)}
${consoleLink === null ? '' : openConsole(consoleLink, out)}
${out.paint('bold', '1')}  Write a row with psql or any other client, and see its event arrive:

  psql '${databaseUrl}' \\
    -c "${TRY_SQL}"

${out.paint('bold', '2')}  Follow the log in another terminal:

${command('logs --follow')}

${out.paint('bold', '3')}  Send to your own receiver, for example to "${thisProgram()} listen --port 4000":

${command(`webhook create --tenant ${TENANT.id} --name mine \\\n      --url http://127.0.0.1:4000/ --events 'deal.*'`)}

${out.paint('bold', '4')}  Ask the HTTP API, as a program of this tenant would:

  curl -s ${apiUrl}/v1/me/outgoing-webhooks \\
    -H 'Authorization: Bearer ${apiKey}'
`);
}

function openConsole(link: string, out: Out): string {
  return `
Open the console with this link. It works once, within 5 minutes. Later, sign in with the key below.

  ${out.paint('bold', link)}
`;
}

/** The command that started this program: a checkout has its own Node, a package its command. */
function thisProgram(): string {
  const script = relative(process.cwd(), process.argv[1] ?? '');
  if (script.endsWith('.ts')) return `npx node ${script}`;
  return existsSync('node_modules/.bin/rowhook') ? 'npx rowhook' : `node ${process.argv[1]}`;
}

/** Undefined if the event is no longer in the outbox, which keeps it for days. */
async function msFromCommit({ client }: Stage, { at, id }: Arrival): Promise<number | undefined> {
  const { rows } = await client.query<{ ms: number }>(
    `select (extract(epoch from pg_xact_commit_timestamp(xid::xid)) * 1000)::float8 as ms
       from rowhook.webhook_outbox where id = $1`,
    [id.split('_')[2]],
  );
  return rows[0] && Math.max(0, Math.round(at - rows[0].ms));
}

/** Polls until `condition` holds. Resolves to false after ARRIVE_MS_MAX. */
async function until(condition: () => boolean | Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + ARRIVE_MS_MAX;
  while (performance.now() < deadline) {
    if (await condition()) return true;
    await sleep(LOOK_EVERY_MS);
  }
  return false;
}
