/** Reads due parked deliveries back into their queues. */

import type { Change, Delivery, TenantConfiguration, Verdict, Webhook } from '../model.ts';
import type { OutcomeCode } from '../outcome.ts';
import type { ReadMark } from '../queue/backlog.ts';
import type { Ticket } from '../queue/ticket.ts';
import type { WebhookQueue } from '../queue/webhook-queue.ts';
import type { Due, DueQuery } from '../retry/parked-deliveries.ts';
import { withinHeap } from '../shared/shares.ts';
import { Steps } from '../shared/timers.ts';
import { inTurns, ReadBackBytes } from './read-back-shares.ts';

/**
 * Limits on one statement that reads parked deliveries: webhooks, and expected characters of
 * payload.
 */
const STATEMENT_WEBHOOKS_MAX = 100;
const STATEMENT_SIZE_MAX = withinHeap(32 * 1024 * 1024, 1 / 64);

/** Statements at a time. The recorder and the lease need the other connections of the pool. */
const STATEMENTS_MAX = 2;

/** Characters assumed for a payload of unknown size: the default limit of a source. */
const PAYLOAD_SIZE_UNSEEN = 1024 * 1024;

/** Bytes assumed for the texts of a webhook that are not in memory: the limit of the table. */
const TEXTS_UNSEEN = 64 * 1024;

/** Deliveries to read ahead per webhook, as a multiple of its max_in_flight. */
const READ_BACK_FACTOR = 4;

/**
 * Limit on the deliveries read back for all webhooks together. Webhooks with parked deliveries
 * share this limit, and each gets at least one delivery, or one batch. Without this limit, 10,000
 * webhooks that recover together after an outage of rowhook would read back 320,000 deliveries: a
 * gigabyte.
 */
const READ_BACK_MAX = 8_192;

/** Deliveries to read ahead for a webhook with batches: the largest possible batch_max_events. */
const BATCH_EVENTS_MAX = 100;

/**
 * Limit on the payload characters read back at once per webhook. At least one delivery is read
 * back. A batch that was sent before is read back completely.
 */
const READ_BACK_SIZE_MAX = 4 * 1024 * 1024;

const PAYLOAD_LOST: Verdict = {
  code: 'payload_lost',
  error: 'its payload is lost, because the outbox was emptied by hand or restored without its data',
};

export interface UnparkingOptions {
  readDue(queries: readonly DueQuery[]): Promise<Due[]>;
  /** These webhooks as they are now, with their texts, as far as they exist. */
  readWebhooks(webhooks: readonly Webhook[]): Promise<readonly Pick<TenantConfiguration, 'webhooks'>[]>;
  /** Whether the breaker of `queue` lets one attempt through. */
  isProbing(queue: WebhookQueue): boolean;
  filterVerdict(webhook: Webhook, change: Change): Verdict;
  /** Removes the delivery's row without a log row. */
  drop(queue: WebhookQueue, ticket: Ticket): void;
  skip(queue: WebhookQueue, ticket: Ticket, code: OutcomeCode, error: string): void;
}

/** What was decided about a delivery, for the webhook as it was then. */
interface Judged {
  webhook: Webhook;
  verdict: Verdict;
}

export class Unparking {
  readonly #options: UnparkingOptions;
  #share = READ_BACK_MAX;
  #statements = 0;
  /** Bytes of the webhooks that have deliveries in memory. */
  #bytesOfWebhooks = 0;
  /** What is in memory, or being read. */
  #bytes = new ReadBackBytes();

  constructor(options: UnparkingOptions) {
    this.#options = options;
  }

  /**
   * Counts what `queues` have in memory. Those with parked deliveries share READ_BACK_MAX. What is
   * sent until the next count does not change it.
   */
  count(queues: Iterable<WebhookQueue>): void {
    let parked = 0;
    this.#bytesOfWebhooks = 0;
    this.#bytes = new ReadBackBytes();
    for (const queue of queues) {
      const { webhook, backlog } = queue;
      if (webhook.hasTexts) this.#bytesOfWebhooks += webhook.bytes;
      if (backlog.hasParked) parked += 1;
      this.#bytes.add(webhook.tenantId, backlog.sizeReadBack + (backlog.isReading ? this.#sizeOf(queue) : 0));
    }
    this.#share = Math.max(1, Math.floor(READ_BACK_MAX / Math.max(1, parked)));
  }

  /**
   * Chooses the queues of `due` to read by one statement: tenants take turns, and of each tenant the
   * one that is due longest is first. Memory limits their number and size, for each tenant and in
   * all.
   */
  choose(due: readonly WebhookQueue[]): WebhookQueue[] {
    if (due.length === 0 || this.#statements >= STATEMENTS_MAX) return [];
    let size = this.#bytesOfWebhooks;
    const chosen: WebhookQueue[] = [];
    for (const queue of inTurns(due)) {
      const { tenantId, hasTexts } = queue.webhook;
      const expected = this.#sizeOf(queue);
      if (!this.#bytes.mayAdd(tenantId, expected)) continue;
      size += expected + (hasTexts ? 0 : TEXTS_UNSEEN);
      if (chosen.length > 0 && size > STATEMENT_SIZE_MAX) break;
      this.#bytes.add(tenantId, expected);
      chosen.push(queue);
      if (chosen.length === STATEMENT_WEBHOOKS_MAX) break;
    }
    return chosen;
  }

  /** Characters of payload that a read of this queue returns, about. */
  #sizeOf(queue: WebhookQueue): number {
    const { limit, replays } = this.#queryOf(queue);
    return (limit + replays) * (queue.payloadSize ?? PAYLOAD_SIZE_UNSEEN);
  }

  /**
   * Reads due deliveries of all `queues` by one statement. A queue whose breaker is probing gets
   * one delivery, to try the endpoint. A replay returns only as many deliveries as can start at
   * once, so new deliveries never wait behind a replay.
   */
  async read(queues: readonly WebhookQueue[]): Promise<void> {
    const before = queues.map(({ backlog }) => backlog.startReading());
    const results = await this.#readDue(queues);
    const isFound = (i: number) => (results[i]?.deliveries.length ?? 0) > 0;
    await this.#readTexts(queues.filter(({ webhook }, i) => !webhook.hasTexts && isFound(i)));
    const verdicts = await this.#verdictsOn(queues, results);
    queues.forEach((queue, i) => {
      const mark = before[i] as ReadMark;
      const { hasTexts, isActive } = queue.webhook;
      if (!isFound(i) || (hasTexts && isActive)) this.#takeBack(queue, results[i] as Due, mark, verdicts);
      // It was deleted or switched off. Its tenant's stream brings that, too.
      else queue.backlog.readDone({ moreDue: true, replaysDue: false, nextInMs: 0 }, mark);
    });
  }

  async #readDue(queues: readonly WebhookQueue[]): Promise<Due[]> {
    this.#statements += 1;
    try {
      return await this.#options.readDue(queues.map((queue) => this.#queryOf(queue)));
    } finally {
      this.#statements -= 1;
    }
  }

  async #readTexts(queues: readonly WebhookQueue[]): Promise<void> {
    if (queues.length === 0) return;
    const resting = new Map(queues.map((queue) => [queue.webhook.id, { queue, webhook: queue.webhook }]));
    for (const { webhooks } of await this.#options.readWebhooks(queues.map(({ webhook }) => webhook))) {
      for (const webhook of webhooks) {
        const known = resting.get(webhook.id);
        // A change that came meanwhile is newer.
        if (known && known.queue.webhook === known.webhook) known.queue.configure(webhook);
      }
    }
  }

  /** Filters take their time, so they are applied in steps, before the queues take anything back. */
  async #verdictsOn(queues: readonly WebhookQueue[], results: readonly Due[]): Promise<Map<Delivery, Judged>> {
    const verdicts = new Map<Delivery, Judged>();
    const steps = new Steps();
    for (const [i, queue] of queues.entries()) {
      const { webhook } = queue;
      if (!webhook.hasTexts) continue;
      for (const delivery of withOneBatchOfReplays(results[i]?.deliveries ?? [], queue)) {
        verdicts.set(delivery, { webhook, verdict: this.#verdictOn(webhook, delivery) });
        if (steps.isOver) await steps.pause();
      }
    }
    return verdicts;
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

  #takeBack(queue: WebhookQueue, found: Due, before: ReadMark, verdicts: ReadonlyMap<Delivery, Judged>): void {
    const { backlog } = queue;
    backlog.readDone(found, before);
    const taken = withOneBatchOfReplays(found.deliveries, queue);
    if (taken.length < found.deliveries.length) backlog.leaveReplaysDue();
    for (const delivery of taken) {
      backlog.takeBack(delivery);
      const ticket = { delivery, settle: () => {}, queuedAt: Infinity };
      const judged = verdicts.get(delivery);
      // The webhook may have changed meanwhile.
      const verdict = judged?.webhook === queue.webhook ? judged.verdict : this.#verdictOn(queue.webhook, delivery);
      if (verdict === 'send') queue.push(ticket);
      else if (verdict === 'pass_over') this.#options.drop(queue, ticket);
      else this.#options.skip(queue, ticket, verdict.code, verdict.error);
    }
    for (const ticket of backlog.takeJoined()) queue.push(ticket);
  }

  /**
   * Applies the filter to deliveries that a replay queued without checking it. An event always has
   * data, even if it is the JSON null.
   */
  #verdictOn(webhook: Webhook, { change, unfiltered }: Delivery): Verdict {
    if (change.unreadable === undefined && change.data === null) return PAYLOAD_LOST;
    return unfiltered || change.unreadable !== undefined ? this.#options.filterVerdict(webhook, change) : 'send';
  }
}

/**
 * For a webhook with batches, keeps one batch of a replay, or none if newer deliveries were read
 * too.
 */
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
  // Any payload may be large until the first one has been seen.
  if (probing || payloadSize === null) return 1;
  const most = batchMax > 1 ? BATCH_EVENTS_MAX : maxInFlight * READ_BACK_FACTOR;
  return Math.min(most, 1 + Math.floor(READ_BACK_SIZE_MAX / (payloadSize + 1)));
}
