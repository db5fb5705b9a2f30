/** Reads attempts of the log, page by page. Returns values only. */
import type pg from 'pg';
import { deliveryId } from '../../payload/ids.ts';
import { Conditions, type Key, type Page, readPage } from '../page.ts';

export interface Attempt {
  id: string;
  delivery_id: string;
  event_id: string;
  event_type: string;
  attempt: number;
  status: string;
  code: string;
  response_status: number | null;
  duration_ms: number | null;
  attempted_at: Date;
  next_attempt_at: Date | null;
  error: string | null;
  remote_ip: string | null;
  user_agent: string | null;
}

export interface AttemptFilter {
  status?: string | undefined;
  event_type?: string | undefined;
  since?: string | undefined;
  until?: string | undefined;
}

const COLUMNS = `l.id, l.delivery_id, l.event_id, l.event_type, l.attempt, l.status, l.code, l.response_status,
  l.duration_ms, l.attempted_at, l.next_attempt_at, l.error, l.remote_ip, l.user_agent`;

/** The attempts of a webhook, newest first. */
export function readAttempts(
  client: pg.ClientBase,
  webhookId: string,
  { status, event_type, since, until }: AttemptFilter,
  page: { limit: number; cursor?: Key | undefined },
): Promise<Page<Attempt>> {
  const indexed = new Conditions()
    .add('l.webhook_id = $', webhookId)
    .add('l.attempted_at >= $::timestamptz', since)
    .add('l.attempted_at < $::timestamptz', until);
  // Few attempts fail, and an index has only those.
  if (status === 'failed' || status === 'skipped') indexed.also("l.status <> 'success'");
  return readPage<Attempt>(
    client,
    {
      columns: COLUMNS,
      from: 'rowhook.webhook_logs l',
      indexed,
      time: { column: 'l.attempted_at', isOrder: true },
      id: { column: 'l.id', type: 'bigint' },
      filters: [
        ['l.status = $', status],
        ['l.event_type = $', event_type],
      ],
    },
    page,
  );
}

/** As readAttempts(), of one event: an index leads from its delivery to its few attempts. */
export const readAttemptsOfEvent =
  (eventId: string): typeof readAttempts =>
  async (client, webhookId, { status, event_type }) => {
    const all = await attemptsOf(client, deliveryId(eventId, webhookId));
    const data = all.filter(
      (one) => (status ?? one.status) === one.status && (event_type ?? one.event_type) === one.event_type,
    );
    return { data: data.reverse().map(({ webhook_id, webhook_name, ...attempt }) => attempt), next_cursor: null };
  };

/** Limit on attempts of one delivery. A delivery that is replayed again and again has more. */
const ATTEMPTS_MAX = 500;

/** All attempts of a delivery, oldest first. */
export async function attemptsOf(
  client: pg.ClientBase,
  deliveryId: string,
): Promise<(Attempt & { webhook_id: string; webhook_name: string })[]> {
  const { rows } = await client.query<Attempt & { webhook_id: string; webhook_name: string }>(
    `select ${COLUMNS}, l.webhook_id, l.webhook_name from rowhook.webhook_logs l
      where l.delivery_id = $1 order by l.attempted_at, l.id limit ${ATTEMPTS_MAX}`,
    [deliveryId],
  );
  return rows;
}

export interface RecentAttempt extends Attempt {
  webhook_id: string;
}

/** Limit on attempts of one read. */
export const RECENT_MAX = 1_000;

/**
 * The attempts of a tenant that ended in the last 10 seconds, by id. They commit in another order
 * than that of their ids, so each read looks back, and the caller leaves out what it has seen.
 */
export async function readRecent(client: pg.ClientBase, tenantId: string): Promise<RecentAttempt[]> {
  const { rows } = await client.query<RecentAttempt>(
    `select ${COLUMNS}, l.webhook_id from rowhook.webhook_logs l
      where l.tenant_id = $1 and l.attempted_at > now() - interval '45 seconds'
        and l.attempted_at + make_interval(secs => coalesce(l.duration_ms, 0) / 1000.0) > now() - interval '10 seconds'
      order by l.attempted_at desc limit ${RECENT_MAX}`,
    [tenantId],
  );
  return rows.sort((a, b) => (BigInt(a.id) < BigInt(b.id) ? -1 : 1));
}
