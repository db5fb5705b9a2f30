/**
 * Decides whether the server's queue of notifications fills up (database/notification-listener.ts), and logs
 * once when it does and once when it is over.
 */
import { QUEUE_USAGE_CALM, QUEUE_USAGE_MAX } from '../database/notification-listener.ts';
import type { Logger } from '../observe/log.ts';

export class NotifyQueueWatch {
  readonly #log: Logger;
  #isFilling = false;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Whether daemons must stay awake. */
  get isFilling(): boolean {
    return this.#isFilling;
  }

  /** `usage` is the share of the queue that is in use. */
  note(usage: number): void {
    const was = this.#isFilling;
    this.#isFilling = usage > (was ? QUEUE_USAGE_CALM : QUEUE_USAGE_MAX);
    if (this.#isFilling && !was)
      this.#log.warn(
        { usage },
        "the server's NOTIFY queue fills up, because a session that listens does not read it. When it is full, " +
          'transactions that notify fail. Writes to watched tables do not: the daemon polls instead. Run rowhook doctor',
      );
    if (was && !this.#isFilling) this.#log.info({ usage }, "the server's NOTIFY queue has room again");
  }
}
