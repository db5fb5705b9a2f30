import type pg from 'pg';
import type { Out } from '../table.ts';

export interface ReplayOptions {
  since: string;
  until?: string;
  only: string;
  json?: boolean;
}

/** Queues deliveries again, under their old ids. The times may be relative: `2h` is two hours ago. */
export async function replay(client: pg.Client, webhookId: string, options: ReplayOptions, out: Out): Promise<void> {
  const { since, until = '0s', only } = options; // 0s ago is now
  const { rows } = await client.query<{ count: string }>(
    `select rowhook.replay($1::uuid, ${timeSql(since, 2)}, ${timeSql(until, 3)}, $4) as count`,
    [webhookId, since, until, only],
  );
  const replayed = Number(rows[0]?.count);
  if (options.json) out.print(JSON.stringify({ webhook_id: webhookId, replayed }));
  else if (replayed === 0) out.print(`Nothing to replay: no ${only} delivery of that time.`);
  else
    out.print(
      `Queued ${replayed} ${replayed === 1 ? 'delivery' : 'deliveries'} again: "rowhook logs --follow" shows them.`,
    );
}

/** The database's clock says what "ago" is. */
function timeSql(text: string, parameter: number): string {
  return /^\d+\s*[smhd]$/.test(text) ? `now() - $${parameter}::interval` : `$${parameter}::timestamptz`;
}
