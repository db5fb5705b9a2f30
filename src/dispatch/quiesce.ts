/** Lanes of the dispatcher that stand still, until they are given back or go on (daemon/handover.ts). They are not read meanwhile. */

import type { Queues } from '../queue/queue-registry.ts';
import type { Pending } from '../queue/unsettled.ts';
import type { WebhookQueue } from '../queue/webhook-queue.ts';
import type { Breakers } from '../retry/breaker.ts';
import type { Flights } from './in-flight.ts';
import type { Parking } from './park.ts';
import type { Turns } from './round-robin.ts';

export interface StandstillOptions {
  queues: Queues;
  turns: Turns;
  flights: Flights;
  pending: Pending;
  parking: Parking;
  breakers: Breakers;
  parkAll(queue: WebhookQueue): void;
}

export class Standstill {
  readonly #of: StandstillOptions;

  constructor(options: StandstillOptions) {
    this.#of = options;
  }

  /** Lanes with an attempt that has been under way for long. */
  get heldLanes(): ReadonlySet<number> {
    return this.#of.flights.heldLanes;
  }

  /** Webhooks of these lanes that hang or fail start nothing more, and those of no other. */
  slowDown(lanes: ReadonlySet<number>): void {
    this.#of.turns.leaving = lanes;
  }

  /** Parks what is queued for these lanes, and starts nothing of them. */
  freeze(lanes: readonly number[]): void {
    for (const lane of lanes) this.#of.turns.frozen.add(lane);
    for (const queue of this.#of.queues.ofLanes(lanes)) this.#of.parkAll(queue);
  }

  /** Nothing of this lane, which is frozen, is in flight, on its way to the table or from there. */
  isAtRest(lane: number): boolean {
    const { flights, pending, parking, queues } = this.#of;
    const busy = flights.slotsOf(lane) + pending.ofLane(lane) + parking.uncommittedOf(lane);
    return busy === 0 && queues.ofLanes([lane]).every(({ dueReading }) => !dueReading);
  }

  /** These lanes are not given back after all. */
  resume(lanes: readonly number[]): void {
    for (const lane of lanes) this.#of.turns.frozen.delete(lane);
  }

  /** These lanes, which are at rest, are another's now. */
  forget(lanes: readonly number[]): void {
    const { queues, turns, breakers } = this.#of;
    for (const queue of queues.ofLanes(lanes)) {
      turns.remove(queue);
      queues.delete(queue);
    }
    breakers.forgetLanes(lanes);
    this.resume(lanes);
  }
}
