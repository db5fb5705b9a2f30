/**
 * How tenants share what is read back: turns, and characters of payload in memory.
 */

import type { WebhookQueue } from '../queue/webhook-queue.ts';
import { TENANT_SHARE, TIMES_FREE, withinHeap } from '../shared/shares.ts';

/**
 * Limit on the characters. A tenant with nothing in memory may have what one read returns. Without
 * this limit, five events of 1 MiB for 1,000 webhooks that hung filled the heap: the daemon ended
 * within 15 s.
 */
const SIZE_MAX = withinHeap(128 * 1024 * 1024, 1 / 32);

export class ReadBackBytes {
  #all = 0;
  readonly #byTenant = new Map<string, number>();

  add(tenantId: string, size: number): void {
    if (size === 0) return;
    this.#all += size;
    this.#byTenant.set(tenantId, this.#ofTenant(tenantId) + size);
  }

  /** Whether `size` more may be read for the tenant. */
  mayAdd(tenantId: string, size: number): boolean {
    const own = this.#ofTenant(tenantId);
    const free = SIZE_MAX - this.#all;
    return own === 0 || own + size <= Math.min(TENANT_SHARE * SIZE_MAX, TIMES_FREE * free);
  }

  #ofTenant(tenantId: string): number {
    return this.#byTenant.get(tenantId) ?? 0;
  }
}

/** Tenants take turns. Of each tenant, the queue that is due longest comes first. */
export function inTurns(due: readonly WebhookQueue[]): WebhookQueue[] {
  const dueAt = ({ backlog }: WebhookQueue) => backlog.dueAt ?? Number.MAX_VALUE;
  const turns = new Map<string, number>();
  const withTurns = due
    .toSorted((a, b) => dueAt(a) - dueAt(b))
    .map((queue) => {
      const turn = turns.get(queue.webhook.tenantId) ?? 0;
      turns.set(queue.webhook.tenantId, turn + 1);
      return { queue, turn };
    });
  return withTurns.sort((a, b) => a.turn - b.turn).map(({ queue }) => queue);
}
