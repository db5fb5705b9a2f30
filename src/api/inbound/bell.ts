/** Tells workers that listen on rowhook_inbound that there is something to claim. */
import { notifyWorkers } from '../../operations/inbound/receive.ts';
import type { Service } from '../service.ts';

/** NOTIFY takes a lock of the whole cluster, so it is not sent for each event. */
const EVERY_MS = 100;

export class Bell {
  readonly #service: Service;
  #isDue = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(service: Service) {
    this.#service = service;
  }

  /** At once, then every EVERY_MS at most. A lost hint harms nobody: workers poll, too. */
  ring(): void {
    if (this.#timer !== undefined) {
      this.#isDue = true;
      return;
    }
    this.#isDue = false;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#isDue) this.ring();
    }, EVERY_MS).unref();
    void this.#notify();
  }

  async #notify(): Promise<void> {
    const { turnstile, pool, log } = this.#service;
    try {
      const place = await turnstile.pass('bell');
      try {
        await notifyWorkers(pool);
      } finally {
        place.leave();
      }
    } catch (err) {
      log.debug({ err }, 'the workers were not notified');
    }
  }
}
