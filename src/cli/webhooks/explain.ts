/** `rowhook webhook explain`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { eventId } from '../../config/parse.ts';
import type { Explanation } from '../../operations/webhooks/explain.ts';
import { type Out, printable } from '../../shared/terminal.ts';
import { help, onDatabase, out, parsed } from '../define.ts';
import { type JsonFlag, ofOne } from './flags.ts';

export function addExplain(group: Command): void {
  const command = onDatabase(
    ofOne(group, 'explain', 'say whether a stored event is sent to it, and if not, why').argument(
      '<event>',
      "an event's id (webhook-id), or an outbox row's for all of its events",
      parsed('event', eventId),
    ),
    (client, id: string, event: string, flags: JsonFlag) => explain(client, id, event, flags, out),
  );
  help(
    command,
    ['rowhook webhook explain 1f0c… evt_3d1f0a2b_4711_0', 'rowhook webhook explain 1f0c… 4711'],
    'It goes by the webhook as it is now.',
  );
}

/** Whether a stored event goes to a webhook as it is configured now, and if not, the condition that stops it. */
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
  const verdict = one.sent
    ? out.paint('green', 'is sent')
    : `${out.paint('red', 'is not sent')}: ${printable(one.because ?? '')}`;
  out.print(`${printable(one.event_type)} ${one.event_id} ${verdict}`);
  if (one.happened) {
    const { status, code, at, next_attempt_at: next } = one.happened;
    const again = next ? `next attempt ${next.toISOString()}` : undefined;
    out.print(`  so far: ${[status, code, at?.toISOString(), again].filter(Boolean).join(' ')}`);
  } else if (one.sent) {
    const since = new Date(occurredAt).toISOString();
    out.print(`  so far: nothing; "rowhook replay ${webhookId} --since ${since} --only missed" sends what was missed`);
  }
}
