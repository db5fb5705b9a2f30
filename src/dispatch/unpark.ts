/** Brings parked deliveries that are due back into their queues. */

import type { Change, Delivery, Verdict, Webhook } from '../model.ts';
import type { OutcomeCode } from '../outcome.ts';
import type { ReadMark } from '../queue/backlog.ts';
import type { Ticket } from '../queue/ticket.ts';
import type { WebhookQueue } from '../queue/webhook-queue.ts';
import type { Due, DueQuery } from '../retry/parked-deliveries.ts';
import { withinHeap } from '../shared/memory.ts';

/** Webhooks whose parked deliveries are read by one statement, and characters of payload that are expected of it. */
const STATEMENT_WEBHOOKS_MAX = 100;
const STATEMENT_SIZE_MAX = withinHeap(32 * 1024 * 1024, 1 / 64);

/** Characters of a payload that nobody has seen yet: what sources allow unless told otherwise. */
const PAYLOAD_SIZE_UNSEEN = 1024 * 1024;

/** Read ahead of need, per webhook, as a multiple of its max_in_flight. */
const READ_BACK_FACTOR = 4;

/**
 * Deliveries read back, of all webhooks together: those that have parked ones share them, and each gets one at least,
 * or a batch. Else 10,000 webhooks that recover together, as after an outage of ours, would bring 320,000, a gigabyte.
 */
const READ_BACK_MAX = 8_192;

/** The same for a webhook with batches: as many as batch_max_events can ask for. */
const BATCH_EVENTS_MAX = 100;

/** Characters of payload that are read back at once, per webhook; one delivery at least, and all of a batch that was sent before. */
const READ_BACK_SIZE_MAX = 4 * 1024 * 1024;

const PAYLOAD_LOST: Verdict = {
  code: 'payload_lost',
  error: 'its payload is gone: the outbox was emptied by hand, or restored without its data',
};

export interface UnparkingOptions {
  readDue(queries: readonly DueQuery[]): Promise<Due[]>;
  /** Its breaker lets one attempt through. */
  isProbing(queue: WebhookQueue): boolean;
  filterVerdict(webhook: Webhook, change: Change): Verdict;
  /** It needs no row any more, and no log. */
  drop(queue: WebhookQueue, ticket: Ticket): void;
  skip(queue: WebhookQueue, ticket: Ticket, code: OutcomeCode, error: string): void;
}

export class Unparking {
  readonly #options: UnparkingOptions;
  #share = READ_BACK_MAX;

  constructor(options: UnparkingOptions) {
    this.#options = options;
  }

  /** So many queues have parked deliveries. */
  divideAmong(queues: number): void {
    this.#share = Math.max(1, Math.floor(READ_BACK_MAX / Math.max(1, queues)));
  }

  /** Those of these queues that one statement reads, the longest due first: so many, and so much, as memory allows; one at least. */
  choose(due: readonly WebhookQueue[]): WebhookQueue[] {
    let size = 0;
    const first = due.toSorted((a, b) => (a.backlog.dueAt ?? Number.MAX_VALUE) - (b.backlog.dueAt ?? Number.MAX_VALUE));
    return first.slice(0, STATEMENT_WEBHOOKS_MAX).filter((queue, i) => {
      const { limit, replays } = this.#queryOf(queue);
      size += (limit + replays) * (queue.payloadSize ?? PAYLOAD_SIZE_UNSEEN);
      return i === 0 || size <= STATEMENT_SIZE_MAX;
    });
  }

  /**
   * One statement for all of these queues; probing ones get one delivery, to try their endpoint with. Of a replay only so much
   * comes back as can start at once, so that nothing new ever waits behind it.
   */
  async read(queues: readonly WebhookQueue[]): Promise<void> {
    const before = queues.map(({ backlog }) => backlog.startReading());
    const results = await this.#options.readDue(queues.map((queue) => this.#queryOf(queue)));
    queues.forEach((queue, i) => {
      this.#takeBack(queue, results[i] as Due, before[i] as ReadMark);
    });
  }

  #queryOf(queue: WebhookQueue): DueQuery {
    const share = Math.max(this.#share, queue.webhook.settings.batchMax);
    const limit = Math.min(limitOf(queue, this.#options.isProbing(queue)), share);
    return {
      webhookId: queue.webhook.id,
      tenantId: queue.webhook.tenantId,
      limit,
      replays: Math.min(limit, queue.replayRoom),
      inMemory: queue.backlog.idsReadBack,
    };
  }

  #takeBack(queue: WebhookQueue, found: Due, before: ReadMark): void {
    const { backlog } = queue;
    backlog.readDone(found, before);
    const taken = withOneBatchOfReplays(found.deliveries, queue);
    if (taken.length < found.deliveries.length) backlog.leaveReplaysDue();
    for (const delivery of taken) {
      backlog.takeBack(delivery);
      const ticket = { delivery, settle: () => {}, queuedAt: Infinity };
      const verdict = this.#verdictOn(queue.webhook, delivery);
      if (verdict === 'send') queue.push(ticket);
      else if (verdict === 'pass_over') this.#options.drop(queue, ticket);
      else this.#options.skip(queue, ticket, verdict.code, verdict.error);
    }
    for (const ticket of backlog.takeJoined()) queue.push(ticket);
  }

  /** What a replay queued without asking the filter is judged now. An event always has data, be it the JSON null. */
  #verdictOn(webhook: Webhook, { change, unfiltered }: Delivery): Verdict {
    if (change.unreadable === undefined && change.data === null) return PAYLOAD_LOST;
    return unfiltered || change.unreadable !== undefined ? this.#options.filterVerdict(webhook, change) : 'send';
  }
}

/** Of a replay for a webhook with batches: one batch, and none while something newer was read. */
function withOneBatchOfReplays(deliveries: readonly Delivery[], { webhook }: WebhookQueue): Delivery[] {
  const { batchMax } = webhook.settings;
  const [live, replays] = [deliveries.filter((d) => !d.replayed), deliveries.filter((d) => d.replayed)];
  const [first] = replays;
  if (batchMax === 1 || !first) return [...live, ...replays];
  if (live.length > 0) return live;
  const together = replays.filter(({ batchId }) => batchId === first.batchId);
  return first.batchId === null ? together.slice(0, batchMax) : together;
}

function limitOf({ webhook, payloadSize }: WebhookQueue, probing: boolean): number {
  const { batchMax, maxInFlight } = webhook.settings;
  // until one was seen, all of them may be large
  if (probing || payloadSize === null) return 1;
  const most = batchMax > 1 ? BATCH_EVENTS_MAX : maxInFlight * READ_BACK_FACTOR;
  return Math.min(most, 1 + Math.floor(READ_BACK_SIZE_MAX / (payloadSize + 1)));
}
