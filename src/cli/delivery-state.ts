import type { Happened } from '../operations/webhooks/explain.ts';

/** What happened to one event of one webhook, for people. Pure. */
export function deliveryState({ status, code, at, next_attempt_at: next }: Happened): string {
  const parts = [status === 'given_up' ? 'given up' : status, code];
  if (at) parts.push(`last attempt ${at.toISOString()}`);
  if (next) parts.push(`next attempt ${next.toISOString()}`);
  return parts.filter(Boolean).join(', ');
}
