/**
 * READ: payloads that their page left out because of their size. They are read when a webhook wants
 * them, a few at a time. A tenant that writes events of 1 MiB that nobody wants, again and again,
 * made everybody else wait for 14 s while pages had such payloads.
 */
import type pg from 'pg';
import type { Change } from '../model.ts';
import { isolate, reasonOf } from '../shared/isolate.ts';
import { RAW, READ_MS_MAX } from './statements.ts';
import type { RawRow } from './windows.ts';

/** Limits on what is read together: payloads, and their bytes. The first one is always read. */
const TOGETHER = { count: 16, bytes: 4 * 1024 * 1024 };

/**
 * Bytes of such payloads that are read for one window of lanes, and for one page of a tenant that
 * lags. The first one is always read. A tenant with more lags, or lags on: each payload of 1 MiB
 * takes 40 ms to read and to send, and whoever writes 50 a second made all others wait for 10 s.
 */
const WINDOW_BYTES_MAX = { lanes: 4 * 1024 * 1024, lagging: 16 * 1024 * 1024 };

/** $1: ids. $2: tenants. */
const PAYLOADS = {
  name: 'rowhook_read_left_out',
  query_timeout: READ_MS_MAX,
  text: `
  select id, tenant_id, data, previous from rowhook.webhook_outbox
   where id = any ($1::bigint[]) and tenant_id = any ($2::text[])`,
};

/** The payloads of one window, or of one page of a tenant that lags. */
export class LeftOutOfWindow {
  readonly #leftOut: LeftOut;
  readonly #bytesMax: number;
  #bytes = 0;
  /** What was read, and has not been asked for yet. */
  readonly #read = new Map<string, Change>();

  constructor(leftOut: LeftOut, isOfOneTenant: boolean) {
    this.#leftOut = leftOut;
    this.#bytesMax = isOfOneTenant ? WINDOW_BYTES_MAX.lagging : WINDOW_BYTES_MAX.lanes;
  }

  /** The first of `changes`, completely. Undefined: that is too much for this window. */
  async whole(changes: readonly Change[], isWanted: (change: Change) => boolean): Promise<Change | undefined> {
    const [change] = changes as [Change];
    const { id, leftOut } = change;
    if (leftOut === undefined || !isWanted(change)) return change;
    if (this.#bytes > 0 && this.#bytes + leftOut > this.#bytesMax) return undefined;
    this.#bytes += leftOut;
    if (!this.#read.has(id))
      for (const read of await this.#leftOut.read(changes, isWanted)) this.#read.set(read.id, read);
    const whole = this.#read.get(id);
    this.#read.delete(id);
    return whole;
  }
}

export class LeftOut {
  readonly #pool: pg.Pool;
  readonly #onUnreadable: (change: Change, reason: string) => void;

  constructor(pool: pg.Pool, onUnreadable: (change: Change, reason: string) => void) {
    this.#pool = pool;
    this.#onUnreadable = onUnreadable;
  }

  /** As many of `changes` as are read together, completely. `changes` begins with one that was left out. */
  async read(changes: readonly Change[], isWanted: (change: Change) => boolean): Promise<Change[]> {
    const together: Change[] = [];
    let bytes = 0;
    for (const change of changes) {
      if (change.leftOut === undefined || !isWanted(change)) continue;
      bytes += change.leftOut;
      if (together.length > 0 && (bytes > TOGETHER.bytes || together.length === TOGETHER.count)) break;
      together.push(change);
    }
    return isolate(
      together,
      (some) => this.#readAll(some),
      async (change, error) => [this.#withoutPayload(change, `its payload cannot be read: ${reasonOf(error)}`)],
    );
  }

  async #readAll(changes: readonly Change[]): Promise<Change[]> {
    const values = [changes.map(({ id }) => id), [...new Set(changes.map(({ tenantId }) => tenantId))]];
    const { rows } = await this.#pool.query({ ...PAYLOADS, ...RAW, values });
    const found = new Map((rows as RawRow[]).map((row) => [`${row[0]} ${row[1]}`, row]));
    return changes.map((change) => {
      const row = found.get(`${change.id} ${change.tenantId}`);
      if (!row) return this.#withoutPayload(change, 'its row is not in the outbox any more');
      const { leftOut: _, ...rest } = change;
      return { ...rest, data: row[2] ?? null, previous: row[3] ?? null };
    });
  }

  #withoutPayload({ leftOut: _, ...change }: Change, reason: string): Change {
    this.#onUnreadable(change, reason);
    return { ...change, rowKey: null, unreadable: reason };
  }
}
