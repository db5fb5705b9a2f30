/** Explains deliveries of the newest change that the daemon refused to send, and never sends again by itself. */
import type pg from 'pg';
import { printable } from '../../shared/terminal.ts';
import type { CapturedChange, Step } from './answer.ts';

const REFUSED = ['address_refused', 'http_refused'];

/** The log says what the daemon refused, and which settings of the daemon allow it. */
export async function refusedSteps(client: pg.Client, change: CapturedChange | undefined): Promise<Step[]> {
  const refused = (change?.sendings ?? []).filter(
    ({ happened }) => happened?.status === 'given_up' && REFUSED.includes(happened.code ?? ''),
  );
  const { rows } = await client.query<{ delivery_id: string; error: string }>(
    `select distinct on (delivery_id) delivery_id, error from rowhook.webhook_logs
      where tenant_id = $1 and webhook_id = any ($2::uuid[]) and delivery_id = any ($3::uuid[])
        and attempted_at > $4::timestamptz - interval '1 minute'
      order by delivery_id, attempted_at desc`,
    [
      change?.tenant_id,
      refused.map(({ webhook_id }) => webhook_id),
      refused.map(({ delivery_id }) => delivery_id),
      change?.at,
    ],
  );
  const errors = new Map(rows.map(({ delivery_id, error }) => [delivery_id, error]));
  return refused.map(({ webhook_id, webhook_name, event_type, delivery_id, happened }) => {
    const error = printable(errors.get(delivery_id) ?? happened?.code ?? '').replace(/ Then: rowhook replay .*$/, '');
    const who = `webhook ${webhook_id} (${printable(webhook_name)})`;
    return {
      kind: 'stops',
      what: `${printable(event_type)} was not sent to ${who}: ${error} Then send it again:`,
      fix: `rowhook replay --delivery ${delivery_id}`,
    };
  });
}
