/** `rowhook webhook preview`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { type Out, printable } from '../../shared/terminal.ts';
import { type Cli, help, onDatabase } from '../define.ts';
import { type JsonFlag, ofOne } from './flags.ts';

export function addPreview(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    ofOne(group, 'preview', 'print the body that a webhook would get for an event, without sending it').argument(
      '[event]',
      "an event's id, an outbox row's number, or an event type (default: the first type that the webhook wants)",
    ),
    (client, id: string, event: string | undefined, flags: JsonFlag) => printPreview(client, id, event, flags, cli.out),
  );
  help(
    command,
    ['rowhook webhook preview 1f0c… deal.updated', 'rowhook webhook preview 1f0c… evt_3d1f0a2b_4711_0'],
    'For an event type, it takes the latest event in the outbox, or the sample of the catalog.',
  );
}

async function printPreview(
  client: pg.Client,
  id: string,
  wanted: string | undefined,
  options: { json?: boolean },
  out: Out,
): Promise<void> {
  const [{ preview }, { findEventOfType, findStoredEvent }, { webhookOf }, { eventTypeNote }] = await Promise.all([
    import('../../operations/webhooks/preview.ts'),
    import('../../operations/webhooks/previewed-event.ts'),
    import('../../operations/webhooks/explain.ts'),
    import('../../operations/webhooks/event-types.ts'),
  ]);
  const webhook = await webhookOf(client, id, 'with secrets');
  const named = wanted ?? webhook.settings.eventTypes[0] ?? 'webhook.test';
  const event = /^(evt_|\d+$)/.test(named)
    ? await findStoredEvent(client, webhook, named)
    : await findEventOfType(client, webhook.tenantId, named);
  const result = await preview(webhook, event);
  if (options.json) {
    out.print(JSON.stringify(result));
    return;
  }
  // No row of the outbox has this id: the body is made up, perhaps of a misspelt event type.
  const isMadeUp = event.change.id === '0';
  const note = wanted !== undefined && isMadeUp ? await eventTypeNote(client, wanted) : null;
  const verdict = result.matched ? out.paint('green', 'yes') : out.paint('red', 'no');
  out.print(`${printable(result.event_type)} ${result.event_id} wanted: ${verdict}${reason(result.stopped_by)}`);
  out.print(`content-type: ${result.content_type}\n`);
  if (result.body === null) out.print(out.paint('red', `No body: ${printable(result.body_problem ?? '')}`));
  else out.print(printable(result.body));
  if (note !== null) out.print(out.paint('yellow', `\nNote: ${printable(note)}`));
}

function reason(because: string | null): string {
  return because === null ? '' : `, ${printable(because)}`;
}
