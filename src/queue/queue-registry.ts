/** The queues of all webhooks that have deliveries in memory or in the table. */

import type { Entry, RowHead, TenantConfiguration, Webhook } from '../model.ts';
import type { Waiting } from '../retry/takeover.ts';
import { WebhookQueue } from './webhook-queue.ts';

export class QueueRegistry {
  readonly #queues = new Map<string, WebhookQueue>();

  get(webhookId: string): WebhookQueue | undefined {
    return this.#queues.get(webhookId);
  }

  get size(): number {
    return this.#queues.size;
  }

  values(): IterableIterator<WebhookQueue> {
    return this.#queues.values();
  }

  of(webhook: Webhook): WebhookQueue {
    let queue = this.#queues.get(webhook.id);
    if (!queue) {
      queue = new WebhookQueue(webhook);
      this.#queues.set(webhook.id, queue);
    }
    // An older window never brings an older configuration, because all configurations come from one
    // cache.
    if (queue.webhook !== webhook) queue.configure(webhook);
    return queue;
  }

  ofLanes(lanes: readonly number[]): WebhookQueue[] {
    return [...this.#queues.values()].filter(({ webhook }) => lanes.includes(webhook.lane));
  }

  /** Whether no delivery of `lane` is being read from the table. */
  isAtRest(lane: number): boolean {
    return this.ofLanes([lane]).every(({ backlog }) => !backlog.isReading);
  }

  delete(queue: WebhookQueue): void {
    this.#queues.delete(queue.webhook.id);
  }

  get tenants(): Set<string> {
    return new Set([...this.#queues.values()].map(({ webhook }) => webhook.tenantId));
  }

  /**
   * Updates the webhooks of these tenants. The webhooks in `waiting` have parked deliveries.
   * Returns the queues of deleted webhooks.
   */
  update(configurations: ReadonlyMap<string, TenantConfiguration>, waiting: Waiting): WebhookQueue[] {
    const webhooks = [...configurations.values()].flatMap((configuration) => configuration.webhooks);
    for (const webhook of webhooks) {
      const parked = waiting.get(webhook.id);
      const queue = parked ? this.of(webhook) : this.#queues.get(webhook.id);
      queue?.configure(webhook);
      if (!queue || !parked) continue;
      if (parked.unattempted) queue.backlog.fallBehind();
      queue.backlog.makeDue();
      for (const { delivery, head } of parked.heads) queue.rowOrder.setHead(delivery, head);
    }
    const ids = new Set(webhooks.map(({ id }) => id));
    const deleted = [...this.#queues.values()].filter(
      ({ webhook }) => configurations.has(webhook.tenantId) && !ids.has(webhook.id),
    );
    for (const queue of deleted) this.delete(queue);
    return deleted;
  }

  /**
   * The recorded deliveries are now in the table, and due again, or they are gone. See
   * Dispatcher.committed.
   */
  committed(entries: readonly Entry[], heads: readonly RowHead[]): void {
    const now = performance.now();
    for (const { attempt, delivery, next } of entries) {
      const queue = this.#queues.get(delivery.webhookId);
      if (!queue) continue;
      // Until now, a read of due deliveries could have found this one in its previous state. A slow
      // one is still in flight, so it stays marked.
      if (attempt !== null || next.kind === 'behindRowHead' || next.kind === 'finished')
        queue.backlog.letGo(delivery.id);
      if (next.kind === 'finished') continue;
      queue.backlog.parkCommitted();
      if (next.kind === 'behindRowHead') queue.rowOrder.countBehind(delivery, -1);
      else if (next.kind === 'retry' && !queue.backlog.isReadBack(delivery.id)) queue.backlog.makeDue(now + next.inMs);
    }
    for (const { delivery, head, released } of heads) {
      const queue = this.#queues.get(delivery.webhookId);
      queue?.rowOrder.setHead(delivery, head);
      if (released) queue?.backlog.makeDue(now);
    }
  }
}
