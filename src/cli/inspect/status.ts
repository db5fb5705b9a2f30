/** `rowhook status`. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type pg from 'pg';
import { wholeNumber } from '../../config/parse.ts';
import type { LaneLag } from '../../observe/lane-lag.ts';
import type { Status, WebhookStatus } from '../../operations/status.ts';
import { type Cell, type Out, printable, printPairs, printTable } from '../../shared/terminal.ts';
import { ageText, events, ranges } from '../../shared/text.ts';
import { type Cli, help, LIMIT_MAX, onDatabase, parsed } from '../define.ts';

interface StatusOptions {
  limit: number;
  watch?: boolean;
  json?: boolean;
}

const WATCH_EVERY_MS = 2_000;
const CLEAR_SCREEN = '\u001b[2J\u001b[H';

export function addStatus(program: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    program
      .command('status')
      .description('show daemons, lag, failing webhooks and the outbox')
      .option('--limit <n>', 'maximum number of webhooks to list', parsed('--limit', wholeNumber(1, LIMIT_MAX)), 20)
      .option('--watch', 'refresh every 2 s'),
    (client, flags: StatusOptions) => status(client, flags, cli.out),
    'look',
  );
  help(
    command,
    ['rowhook status', 'rowhook status --watch', 'rowhook status --json | jq .oldest_undelivered_seconds'],
    [
      'A daemon writes its positions once a second, so events of the last second count as behind.',
      'For an exit code that reports problems, use "rowhook doctor".',
    ],
  );
}

/** The names that columns and the JSON of other commands use. */
function inSnakeCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inSnakeCase);
  if (value === null || typeof value !== 'object' || value instanceof Date) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, of]) => [
      key.replaceAll(/[A-Z]|24h$/g, (part) => `_${part.toLowerCase()}`),
      inSnakeCase(of),
    ]),
  );
}

async function status(client: pg.Client, options: StatusOptions, out: Out): Promise<void> {
  const { readStatus } = await import('../../operations/status.ts');
  for (;;) {
    const now = await readStatus(client, options.limit);
    if (options.watch && !options.json) {
      out.write(out.columns === undefined ? '' : CLEAR_SCREEN);
      out.print(out.paint('dim', `${now.at.toISOString()}, every ${WATCH_EVERY_MS / 1_000} s; stop with Ctrl-C`));
    }
    if (options.json) out.print(JSON.stringify(inSnakeCase(now)));
    else print(now, options.limit, out);
    if (!options.watch) return;
    await sleep(WATCH_EVERY_MS);
  }
}

function print(now: Status, limit: number, out: Out): void {
  const isUnseen = (part: string) => now.unseen.some((unseen) => unseen.startsWith(`${part}: `));
  const seen = (part: string, text: string) => (isUnseen(part) ? 'unknown' : text);
  printPairs(out, [
    ['database', `${now.database}, PostgreSQL ${now.server}, schema version ${now.schemaVersion ?? 'unknown'}`],
    ['environment', seen('environment', now.environment ?? 'none recorded')],
    ['daemons', seen('daemons', now.daemons.map(({ name, lanes }) => `${name} (${lanes} lanes)`).join(', ') || 'none')],
    ['behind', seen('lanes', behindText(now))],
    ['tenants that lag', seen('lanes', laggingText(now))],
    [
      'oldest undelivered',
      seen('lanes', now.oldestUndeliveredSeconds === null ? 'none' : ageText(now.oldestUndeliveredSeconds)),
    ],
    ['deliveries', seen('webhooks', `${waitingText(now)}, ${now.givenUp} given up`)],
    ['webhooks', seen('webhooks', webhooksText(now))],
    ['breakers', seen('webhooks', `${now.breakersOpen} open`)],
    ['watched tables', seen('watched tables', watchedText(now))],
    ['inbound events', inboundText(now)],
  ]);
  const problems = now.readOnly === null ? now.sources.problems : [now.readOnly, ...now.sources.problems];
  for (const { what, fix } of problems) out.print(`${out.paint('yellow', what)}\n  ${out.paint('bold', fix)}`);
  printLanes(now, out);
  printTroubled(now.troubled, limit, out);
  printSlots(now, out);
  for (const [reason, parts] of byReason(now.unseen))
    out.print(out.paint('yellow', `\nnot shown: ${parts.join(', ')}: ${reason}`));
}

/** The parts that are not shown, by the reason. A login that may see nothing has one reason for all. */
function byReason(unseen: readonly string[]): Map<string, string[]> {
  const parts = new Map<string, string[]>();
  for (const line of unseen) {
    const end = line.indexOf(': ');
    const reason = line.slice(end + 2);
    parts.set(reason, [...(parts.get(reason) ?? []), line.slice(0, end)]);
  }
  return parts;
}

function webhooksText({ webhooks: { active, off, disabled } }: Status): string {
  return `${active} active, ${off} off, ${disabled} disabled by rowhook`;
}

function watchedText({ sources: { watched, problems } }: Status): string {
  const troubled = new Set(problems.map(({ table }) => table)).size;
  return troubled === 0 ? `${watched}` : `${watched}, ${troubled} of them with problems`;
}

function inboundText({ inbound }: Status): string {
  if (inbound === null) return 'unknown';
  const { pending, processing, leaseEnded, failed24h, oldestSeconds, oldestEventName, oldestTenantId } = inbound;
  const parts = [`${pending} pending`, `${processing} processing`];
  if (leaseEnded > 0) parts.push(`${leaseEnded} with an ended lease`);
  if (failed24h > 0) parts.push(`${failed24h} failed in 24 hours`);
  const oldest =
    oldestSeconds === null ? '' : ` (oldest: ${ageText(oldestSeconds)}, ${oldestEventName} of ${oldestTenantId})`;
  return printable(`${parts.join(', ')}${oldest}`);
}

function waitingText({ waiting, oldestWaitingSeconds }: Status): string {
  const oldest = oldestWaitingSeconds === null ? '' : ` (oldest: ${ageText(oldestWaitingSeconds)})`;
  return `${waiting} waiting${oldest}`;
}

function behindText({ lanes }: Status): string {
  const count = lanes.reduce((sum, lane) => sum + lane.events, 0);
  const oldest = Math.max(0, ...lanes.map(({ oldestSeconds }) => oldestSeconds ?? 0));
  const more = lanes.some((lane) => lane.more) ? 'more than ' : '';
  return count === 0 ? '0 events' : `${more}${events(count)}, ${ageText(oldest)}`;
}

/** The tenants that are read by themselves, and the one whose oldest event has waited longest. */
function laggingText({ lanes }: Status): string {
  const count = lanes.reduce((sum, { tenantsLagging }) => sum + tenantsLagging, 0);
  const [worst] = lanes
    .flatMap(({ lagging }) => lagging)
    .sort((a, b) => (b.oldestSeconds ?? 0) - (a.oldestSeconds ?? 0) || b.events - a.events);
  if (!worst) return `${count}`;
  return `${count}, the worst is ${worst.tenantId}: ${events(worst.events)}, ${ageText(worst.oldestSeconds ?? 0)}`;
}

/** One line for each owner, and another for those of its lanes that lag. */
function printLanes({ lanes }: Status, out: Out): void {
  if (lanes.length === 0) return;
  const groups = Map.groupBy(lanes, ({ owner, events }) => JSON.stringify([owner, events > 0]));
  out.print();
  printTable(
    out,
    ['lanes', 'owner', 'lease ends in', 'events behind', 'seconds behind', 'position written'],
    [...groups.values()].map((group) => {
      const [{ owner } = { owner: null }] = group;
      const most = (of: (lane: LaneLag) => number | null) => Math.max(0, ...group.map((lane) => of(lane) ?? 0));
      const events = group.reduce((sum, lane) => sum + lane.events, 0);
      return [
        ranges(group.map(({ lane }) => lane)),
        owner ?? ({ text: 'nobody', style: 'red' } as const),
        owner === null ? '' : ageText(most(({ leaseSeconds }) => leaseSeconds)),
        group.some(({ more }) => more) && events > 0 ? `more than ${events}` : events,
        Math.round(most(({ oldestSeconds }) => oldestSeconds)),
        `${ageText(most(({ positionAgeSeconds }) => positionAgeSeconds))} ago`,
      ];
    }),
  );
}

function printTroubled(troubled: readonly WebhookStatus[], limit: number, out: Out): void {
  if (troubled.length === 0) return;
  out.print();
  printTable(
    out,
    ['webhook id', 'tenant', 'name', 'state', 'waiting', 'given up', 'oldest', 'breaker'],
    troubled
      .slice(0, limit)
      .map((row) => [
        row.id,
        row.tenant_id,
        row.name,
        stateOf(row),
        row.waiting,
        row.givenUp > 0 ? { text: String(row.givenUp), style: 'red' } : 0,
        row.oldestSeconds === null ? '' : ageText(row.oldestSeconds),
        breakerOf(row),
      ]),
  );
  if (troubled.length > limit) out.print(out.paint('dim', `There are more than ${limit}. Raise --limit to see them.`));
}

function stateOf({ state, disabledReason }: WebhookStatus): Cell {
  if (state === 'disabled') return { text: `disabled: ${disabledReason ?? 'by rowhook'}`, style: 'red' };
  if (state === 'off' || state === 'deleted') return { text: state, style: 'dim' };
  // The column "breaker" says how an active webhook fails.
  return { text: 'active', style: 'green' };
}

function breakerOf({ breaker, failures, opensAgainSeconds }: WebhookStatus): Cell {
  if (breaker === null) return '';
  const failed = `${failures} failed in a row`;
  if (breaker === 'closed') return failed;
  const until =
    breaker === 'open' ? `open, next attempt in ${ageText(opensAgainSeconds ?? 0)}` : 'probing with one attempt';
  return { text: `${until}, ${failed}`, style: 'red' };
}

function printSlots({ slots }: Status, out: Out): void {
  const held = slots.filter(({ oldestSeconds }) => oldestSeconds !== null);
  if (held.length === 0) return;
  out.print();
  printTable(
    out,
    ['slot', 'turn', 'oldest event', 'newest event', 'size'],
    held.map(({ slot, turn, oldestSeconds, newestSeconds, bytes }) => [
      slot,
      turn,
      `${ageText(oldestSeconds ?? 0)} ago`,
      `${ageText(newestSeconds ?? 0)} ago`,
      `${(bytes / 2 ** 20).toFixed(1)} MiB`,
    ]),
  );
}
