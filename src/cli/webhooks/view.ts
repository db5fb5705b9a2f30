/** Texts about webhooks that several commands print. */
import { CAPTURED_DAYS, capturedUntil, type Missed } from '../../operations/history/missed.ts';
import { type WebhookRow, withoutSecrets } from '../../operations/webhooks/webhooks.ts';
import { type Cell, type Out, printable } from '../../shared/terminal.ts';
import { events } from '../../shared/text.ts';

export function report(
  webhook: WebhookRow,
  what: string,
  { json = false, notes }: { json?: boolean; notes?: readonly string[] },
  out: Out,
): void {
  if (json) {
    out.print(JSON.stringify({ ...withoutSecrets(webhook), notes }));
    return;
  }
  out.print(`Webhook ${webhook.id}: ${what}.`);
  for (const text of notes ?? []) out.print(out.paint('yellow', `Note: ${printable(text)}`));
}

export function printCaptured({ id, disabled_at }: WebhookRow, out: Out): void {
  if (disabled_at === null) return;
  const until = capturedUntil(disabled_at);
  const are = until.getTime() < Date.now() ? 'were' : 'are';
  out.print(
    `Its events ${are} captured until ${until.toISOString()}, and each is kept for 7 days. ` +
      `"rowhook webhook enable ${id}" prints the command that sends missed events.`,
  );
}

export function printMissed(
  id: string,
  { missed_since, missed, given_up, given_up_since, lost_since }: Missed,
  out: Out,
): void {
  // missedSince() begins an hour before the webhook was switched off, and takes the present settings.
  out.print(
    `While it was switched off or in the hour before, it missed ${events(missed)} that it now wants ` +
      'and that the outbox still holds (it keeps 7 days).',
  );
  if (lost_since) {
    const since = lost_since.toISOString();
    const note = `Changes since ${since} were not captured for it, because it was off for ${CAPTURED_DAYS} days.`;
    out.print(out.paint('yellow', note));
  }
  const command = (since: Date, only: string) => `rowhook replay ${id} --since ${since.toISOString()} --only ${only}`;
  if (missed > 0) out.print(`To send the missed events: ${command(missed_since, 'missed')}`);
  if (given_up > 0 && given_up_since)
    out.print(
      `To send ${given_up === 1 ? 'the delivery that was' : `the ${given_up} deliveries that were`} given up: ` +
        command(given_up_since, 'given_up'),
    );
}

export function state({ is_active, disabled_reason }: WebhookRow): Cell {
  if (is_active) return { text: 'active', style: 'green' };
  return disabled_reason === null
    ? { text: 'off', style: 'dim' }
    : { text: `disabled: ${disabled_reason}`, style: 'red' };
}

export function asText(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
