/** Types that the checks of `rowhook doctor` share: their input and their results. */
import type pg from 'pg';
import { SLOT_SECONDS_MAX } from '../capture/pinned-slots.ts';
import { QUEUE_USAGE_MAX } from '../database/notification-listener.ts';
import type { Finding } from '../shared/finding.ts';

/** A checked thing that is as it should be. */
export interface Fact {
  kind: 'fine';
  what: string;
}

/** A thing that this role may not see. */
export interface Unseen {
  kind: 'unseen';
  what: string;
  fix: string;
}

export type CheckResult = Finding | Fact | Unseen;

/** Limits above which the doctor warns. */
export interface Limits {
  /** Age of an open or prepared transaction. */
  transactionSeconds: number;
  /** How long a session of rowhook may wait for a lock. `watch` waits for 0.8 s. */
  lockSeconds: number;
  /** Age of an unread outbox row, while its lane has an owner and the position does not move. */
  unreadSeconds: number;
  /** Age of the oldest event of a tenant that lags. */
  laggingSeconds: number;
  /** Age of a slot's oldest row. A slot is due to be emptied after 7 days. */
  slotSeconds: number;
  /** How long a free lane may wait for its next owner. */
  handoverMs: number;
  clockSeconds: number;
  /** Age of an inbound event that is neither processed nor failed. */
  inboundSeconds: number;
  /**
   * Capture's share of the time that this database spends in statements. It counts from
   * captureSeconds on.
   */
  captureShare: number;
  captureSeconds: number;
  /** How long a notification may take. */
  listenMs: number;
  /** Share of the server's queue of notifications that is in use. */
  queueUsage: number;
}

export const LIMITS: Limits = {
  transactionSeconds: 300,
  lockSeconds: 1,
  unreadSeconds: 60,
  laggingSeconds: 300,
  slotSeconds: SLOT_SECONDS_MAX,
  handoverMs: 5_000,
  clockSeconds: 5,
  inboundSeconds: 86_400,
  captureShare: 0.25,
  captureSeconds: 60,
  listenMs: 5_000,
  queueUsage: QUEUE_USAGE_MAX,
};

export interface Examination {
  client: pg.Client;
  databaseUrl: string;
  /** Settings of the daemons, as far as the caller knows them. */
  wake: 'notify' | 'poll';
  environment: string | undefined;
  limits: Limits;
  /** This machine's clock, in milliseconds. */
  now(): number;
}

export type Check = (examination: Examination) => Promise<CheckResult[]>;

export function fine(what: string): Fact {
  return { kind: 'fine', what };
}
