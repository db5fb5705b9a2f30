/** Brings parked deliveries that are due back into their queues. */
import type { Due, DueQuery } from './parked.ts';
import type { WebhookQueue } from './queue.ts';

/** Read ahead of need, per webhook, as a multiple of its max_in_flight. */
const READ_BACK_FACTOR = 4;

/** As large as batch_max_events can be: a batch must fit in whole. */
const BATCH_EVENTS_MAX = 100;

/** One statement for all of these queues; `probing` ones get one delivery, to try their endpoint with. */
export async function readBack(
  queues: readonly WebhookQueue[],
  probing: (queue: WebhookQueue) => boolean,
  readDue: (queries: readonly DueQuery[]) => Promise<Due[]>,
): Promise<void> {
  const before = queues.map((queue) => ({ parks: queue.parksSeen, committed: queue.uncommittedParks === 0 }));
  for (const queue of queues) queue.dueReading = true;
  const results = await readDue(
    queues.map((queue) => ({
      webhookId: queue.webhook.id,
      tenantId: queue.webhook.tenantId,
      limit: limitOf(queue, probing(queue)),
      inMemory: [...queue.readBack],
    })),
  );
  queues.forEach((queue, i) => {
    const { deliveries, moreDue, nextInMs } = results[i] as Due;
    // no park was on its way while we read, so what we saw is all
    const sawAll = before[i]?.committed && before[i]?.parks === queue.parksSeen;
    const now = performance.now();
    queue.dueReading = false;
    queue.dueAt = nextInMs !== null ? now + nextInMs : sawAll ? null : now;
    // what was never attempted is always due: without more, events may come in directly again, behind these
    if (sawAll && !moreDue) queue.backlogged = false;
    for (const delivery of deliveries) {
      queue.readBack.add(delivery.id);
      queue.push({ delivery, settle: () => {}, queuedAt: Infinity });
    }
  });
}

function limitOf({ webhook: { batchMax, maxInFlight } }: WebhookQueue, probing: boolean): number {
  if (batchMax > 1) return BATCH_EVENTS_MAX;
  return probing ? 1 : maxInFlight * READ_BACK_FACTOR;
}
