/** What the checks of `rowhook doctor` share: what they are given, and what they answer. */
import type pg from 'pg';
import { SLOT_SECONDS_MAX } from '../capture/pinned-slots.ts';
import type { Finding } from '../shared/finding.ts';

/** Something that was looked at and is as it should be. */
export interface Fact {
  kind: 'fine';
  what: string;
}

/** Something that this role may not see. */
export interface Unseen {
  kind: 'unseen';
  what: string;
  mend: string;
}

export type Remark = Finding | Fact | Unseen;

/** When something is worth a warning. */
export interface Limits {
  /** Of an open or prepared transaction. */
  transactionSeconds: number;
  /** Of an outbox row that nobody has read, while its lane has an owner and no position moves. */
  unreadSeconds: number;
  /** Of the oldest row of a slot: its turn to be emptied comes after 7 days. */
  slotSeconds: number;
  /** How long a free lane may be on its way to its next owner. */
  handoverMs: number;
  clockSeconds: number;
  /** Of the time that this database spends in statements, where it is at least captureSeconds. */
  captureShare: number;
  captureSeconds: number;
  /** How long a notification may take. */
  listenMs: number;
}

export const LIMITS: Limits = {
  transactionSeconds: 300,
  unreadSeconds: 60,
  slotSeconds: SLOT_SECONDS_MAX,
  handoverMs: 5_000,
  clockSeconds: 5,
  captureShare: 0.25,
  captureSeconds: 60,
  listenMs: 5_000,
};

export interface Examination {
  client: pg.Client;
  databaseUrl: string;
  /** Settings of the daemons, as far as the one who asks has them. */
  wake: 'notify' | 'poll';
  environment: string | undefined;
  limits: Limits;
  /** This machine's clock, in milliseconds. */
  now(): number;
}

export type Check = (examination: Examination) => Promise<Remark[]>;

export function fine(what: string): Fact {
  return { kind: 'fine', what };
}
