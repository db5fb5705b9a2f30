/** The queues of all webhooks that have deliveries in memory or in the table. */

import type { ChangedWebhooks, Entry, RowHead, Webhook } from '../model.ts';
import type { Waiting } from '../retry/takeover.ts';
import { WebhookQueue } from './webhook-queue.ts';

export class QueueRegistry {
  readonly #queues = new Map<string, WebhookQueue>();
  readonly #byTenant = new Map<string, Set<WebhookQueue>>();

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
      const ofTenant = this.#byTenant.get(webhook.tenantId);
      if (ofTenant) ofTenant.add(queue);
      else this.#byTenant.set(webhook.tenantId, new Set([queue]));
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
    const { id, tenantId } = queue.webhook;
    this.#queues.delete(id);
    const ofTenant = this.#byTenant.get(tenantId);
    ofTenant?.delete(queue);
    if (ofTenant?.size === 0) this.#byTenant.delete(tenantId);
  }

  has(webhookId: string): boolean {
    return this.#queues.has(webhookId);
  }

  /** How many queues the tenant has. */
  countOf(tenantId: string): number {
    return this.#byTenant.get(tenantId)?.size ?? 0;
  }

  /**
   * Updates the webhooks of a tenant that `changed`: `webhooks` are those that exist. The ones in
   * `waiting` have parked deliveries. Returns the queues of deleted webhooks.
   */
  update(tenantId: string, webhooks: readonly Webhook[], changed: ChangedWebhooks, waiting: Waiting): WebhookQueue[] {
    const ids = new Set<string>();
    for (const webhook of webhooks) {
      ids.add(webhook.id);
      const parked = waiting.get(webhook.id);
      const queue = parked ? this.of(webhook) : this.#queues.get(webhook.id);
      queue?.configure(webhook);
      if (!queue) continue;
      if (parked?.unattempted) queue.backlog.fallBehind();
      if (parked) queue.backlog.makeDue();
      for (const { delivery, head } of parked?.heads ?? []) queue.rowOrder.setHead(delivery, head);
      queue.rest();
    }
    const known = changed ? [...changed].flatMap((id) => this.#queues.get(id) ?? []) : this.#byTenant.get(tenantId);
    const deleted = [...(known ?? [])].filter(({ webhook: { id } }) => !ids.has(id));
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
