/** `rowhook inbound`: sources, events, retry. */
import type { Command } from 'commander';
import type pg from 'pg';
import { oneOf, uuid, wholeNumber } from '../../config/parse.ts';
import type { InboundEvent } from '../../operations/inbound/events.ts';
import { type Out, printable } from '../../shared/terminal.ts';
import { type Cli, help, LIMIT_MAX, onDatabase, parsed } from '../define.ts';
import { addSources } from './sources.ts';

const operations = () => import('../../operations/inbound/events.ts');

/** How often `--follow` looks for new events. */
const FOLLOW_EVERY_MS = 500;

export function addInbound(program: Command, cli: Cli): void {
  const group = program.command('inbound').description('inbound webhooks: sources, events, retries');
  group.helpCommand(false);
  addSources(group, cli);
  addEvents(group, cli);
  addRetry(group, cli);
  help(group, ['rowhook inbound source list', 'rowhook inbound events --status failed']);
}

interface EventFlags {
  tenant?: string;
  status?: string;
  event?: string;
  limit: number;
  follow?: boolean;
  json?: boolean;
}

function addEvents(group: Command, cli: Cli): void {
  const statuses = ['received', 'processing', 'processed', 'failed'];
  const command = onDatabase(
    cli,
    group
      .command('events')
      .description('print inbound events, one per line, newest last')
      .option('--tenant <tenant>', 'only this tenant')
      .option(
        '--status <status>',
        'only received, processing, processed or failed',
        parsed('--status', oneOf(statuses)),
      )
      .option('--event <name>', 'only events of this name')
      .option('--limit <n>', 'number of newest events', parsed('--limit', wholeNumber(1, LIMIT_MAX)), 50)
      .option('--follow', 'keep printing new events'),
    (client, flags: EventFlags) => events(client, flags, cli.out),
  );
  help(command, ['rowhook inbound events', 'rowhook inbound events --follow --tenant acme --event lead.captured']);
}

async function events(client: pg.Client, flags: EventFlags, out: Out): Promise<void> {
  const { NewInboundEvents, readNewest } = await operations();
  const { tenant, status, event: event_name, limit, follow, json } = flags;
  const print = (event: InboundEvent) => out.print(json ? JSON.stringify(event) : line(event, out));
  const fresh = new NewInboundEvents(client, { tenant, status, event_name });
  if (follow) await fresh.start();
  const newest = await readNewest(client, { tenant, status, event_name }, limit);
  if (newest.length === 0 && !json && !follow) out.print('No inbound events, or none that matches the flags.');
  newest.forEach(print);
  fresh.skip(newest);
  while (follow) {
    (await fresh.next()).forEach(print);
    await new Promise((resolve) => setTimeout(resolve, FOLLOW_EVERY_MS));
  }
}

function line(event: InboundEvent, out: Out): string {
  const style = event.status === 'processed' ? 'green' : event.status === 'failed' ? 'red' : 'yellow';
  const fields = [
    event.id,
    event.received_at.toISOString(),
    out.paint(style, event.status.padEnd(10)),
    `#${event.attempts}`.padEnd(3),
    printable(event.event_name).padEnd(22),
    printable(event.tenant_id),
    printable(event.source ?? '(key)'),
  ];
  if (event.error_message) fields.push(printable(event.error_message));
  return fields.join('  ');
}

const eventId = (text: string) => uuid(text, '"rowhook inbound events" shows the ids');

function addRetry(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    group
      .command('retry')
      .description('let an inbound event be claimed again')
      .argument('<id>', "the event's id", parsed('inbound event', eventId)),
    async (client, id: string, { json }: { json?: boolean }) => {
      await (await operations()).retryInboundEvent(client, id);
      cli.out.print(json ? JSON.stringify({ id, status: 'received' }) : `Event ${id}: waits again.`);
    },
  );
  help(command, ['rowhook inbound retry 0199f1a2…']);
}
