/** `rowhook webhook explain`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { eventId } from '../../config/parse.ts';
import type { Explanation } from '../../operations/webhooks/explain.ts';
import { type Out, printable } from '../../shared/terminal.ts';
import { type Cli, help, onDatabase, parsed } from '../define.ts';
import { deliveryState } from '../delivery-state.ts';
import { type JsonFlag, ofOne } from './flags.ts';

export function addExplain(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    ofOne(group, 'explain', 'explain whether a webhook wants a stored event, and what happened to it').argument(
      '<event>',
      "an event's id (webhook-id), or an outbox row's number for all of its events",
      parsed('event', eventId),
    ),
    (client, id: string, event: string, flags: JsonFlag) => explain(client, id, event, flags, cli.out),
  );
  help(
    command,
    ['rowhook webhook explain 1f0c… evt_3d1f0a2b_4711_0', 'rowhook webhook explain 1f0c… 4711'],
    "It uses the webhook's current settings.",
  );
}

async function explain(
  client: pg.Client,
  id: string,
  event: string,
  options: { json?: boolean },
  out: Out,
): Promise<void> {
  const { explainEvent } = await import('../../operations/webhooks/explain.ts');
  const { explanations, occurredAt } = await explainEvent(client, id, event);
  for (const one of explanations) {
    if (options.json) out.print(JSON.stringify(one));
    else print(one, id, occurredAt, out);
  }
}

function print(one: Explanation, webhookId: string, occurredAt: number, out: Out): void {
  const wanted = one.sent ? out.paint('green', 'yes') : `${out.paint('red', 'no')}, ${printable(one.because ?? '')}`;
  out.print(`${printable(one.event_type)} ${one.event_id} wanted: ${wanted}`);
  if (one.happened) out.print(`  state: ${deliveryState(one.happened)}`);
  else if (one.sent) {
    out.print('  state: not attempted');
    const since = new Date(occurredAt).toISOString();
    out.print(`  To send it if it was missed: rowhook replay ${webhookId} --since ${since} --only missed`);
  }
}
