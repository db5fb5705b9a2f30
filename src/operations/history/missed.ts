/** Finds the events that a disabled webhook did not get. */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { isCovered } from '../../observe/lane-lag.ts';
import { daemonRuns, theOne, type WebhookRow } from '../webhooks/webhooks.ts';

export interface Missed {
  missed_since: Date;
  missed: number;
  given_up: number;
  /** When the first event that was given up happened. */
  given_up_since: Date | null;
  /** Changes since this time were not captured. Null: all were captured. */
  lost_since: Date | null;
}

/** How long capture continues for a disabled webhook: the probe of 0010_capture_functions.sql. */
export const CAPTURED_DAYS = 30;

export function capturedUntil(disabledAt: Date): Date {
  return new Date(disabledAt.getTime() + CAPTURED_DAYS * 86_400_000);
}

/**
 * Events that were queued when the webhook was disabled had happened a little earlier. Events of a
 * long transaction had happened earlier still.
 */
const MISSED_EARLIER_MS = 3_600_000;

/** Counts the events of the time while the webhook was disabled, and the events given up before. */
export async function missedSince(
  client: pg.Client,
  { id, created_at }: WebhookRow,
  disabledAt: Date,
): Promise<Missed> {
  const since = new Date(Math.max(disabledAt.getTime() - MISSED_EARLIER_MS, created_at.getTime()));
  await untilCovered(client, id);
  const { rows } = await client.query<Missed>(
    `select rowhook.replay($1, $2, "only" => 'missed', dry_run => true)::int as missed,
            count(*)::int as given_up, min(occurred_at) as given_up_since
       from rowhook.webhook_deliveries where webhook_id = $1 and state = 'given_up'`,
    [id, since],
  );
  const captured = capturedUntil(disabledAt);
  const lost_since = captured.getTime() < Date.now() ? captured : null;
  return { missed: 0, given_up: 0, given_up_since: null, ...rows[0], missed_since: since, lost_since };
}

const COVERED_MS_MAX = 5_000;
const ASK_EVERY_MS = 100;

/**
 * Waits until a position covers all events up to now. A replay leaves out events that no position
 * covers, because the daemon may still have to send them. A position is written up to 2 s after its
 * events were read, and events read while the webhook was disabled are not sent.
 */
export async function untilCovered(client: pg.Client, webhookId: string): Promise<void> {
  if (!(await daemonRuns(client))) return;
  const { rows } = await client.query<{ now: string; tenantId: string }>(
    `select pg_current_snapshot()::text as now, tenant_id as "tenantId"
       from rowhook.webhook_configurations where id = $1`,
    [webhookId],
  );
  const { now, tenantId } = theOne(rows, webhookId);
  for (const deadline = performance.now() + COVERED_MS_MAX; performance.now() < deadline; ) {
    if (await isCovered(client, tenantId, now)) return;
    await sleep(ASK_EVERY_MS);
  }
}
