// Readers as daemons have them (the stream, the doorbell, the listener, each with its connections), that share the lanes, deliver nothing
// and fall asleep after milliseconds: hundreds of times in the seconds of a test.

import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { takeLanes } from '../../src/daemon/lane-rows.ts';
import { connectDaemon } from '../../src/database/connections.ts';
import { type Bell, listen } from '../../src/database/notification-listener.ts';
import type { Lane, Window } from '../../src/model.ts';
import { Unsettled } from '../../src/queue/unsettled.ts';
import { ReadAhead } from '../../src/read/read-ahead.ts';
import { Reader } from '../../src/read/reader.ts';
import { READER_SETTINGS } from '../../src/read/windows.ts';
import type { TestDatabase } from './database.ts';

interface Sleeper {
  lanes: number[];
  reader: pg.Client;
  bell: Bell;
  stream: Reader;
  /** Resolves when it has ended, however that was. */
  ended: Promise<unknown>;
}

export class Sleepers {
  readonly #database: TestDatabase;
  #all: Sleeper[] = [];
  readonly #arrived = new Set<number>();
  readonly #waiting = new Map<number, () => void>();
  /** Changes that a safety poll found. */
  unrung = 0;
  #failure: Error | undefined;

  private constructor(database: TestDatabase) {
    this.#database = database;
  }

  /** So many of them, and all lanes. */
  static async start(database: TestDatabase, count: number): Promise<Sleepers> {
    const sleepers = new Sleepers(database);
    const lanes = await takeLanes(database.pool, randomUUID(), [], 16);
    for (let n = 0; n < count; n++) await sleepers.#add(lanes.filter(({ lane }) => lane % count === n));
    return sleepers;
  }

  /** Resolves when the item has been read; rejects when that takes too long. */
  async arrival(id: number, timeoutMs: number): Promise<void> {
    if (this.#failure) throw this.#failure;
    if (this.#arrived.has(id)) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`Item ${id} was not read within ${timeoutMs} ms.`)), timeoutMs);
      this.#waiting.set(id, () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** One goes, in order or with its connection, and another one comes; or its lanes go to one that is there. */
  async replaceOne(): Promise<void> {
    const [gone] = this.#all.splice(Math.floor(Math.random() * this.#all.length), 1) as [Sleeper];
    const positions = await gone.stream.leave(gone.lanes);
    const lanes = [...positions].map(([lane, left]) => ({ lane, epoch: '0', ...left }));
    await this.#end(gone, Math.random() < 0.5 ? 'in order' : 'at once');
    const heir = this.#all[0];
    if (heir && Math.random() < 0.3 && this.#all.length > 1) {
      heir.lanes.push(...lanes.map(({ lane }) => lane));
      heir.stream.join(lanes);
    } else await this.#add(lanes);
  }

  async close(): Promise<void> {
    for (const sleeper of this.#all) await this.#end(sleeper, 'in order');
    // whoever comes next begins here
    await this.#database.query('update rowhook.webhook_lanes set owner = null, from_snapshot = pg_current_snapshot()');
  }

  async #add(lanes: readonly Lane[]): Promise<void> {
    const url = this.#database.daemonUrl;
    const reader = await connectDaemon(url, 'rowhook reader', 'session');
    await reader.query(READER_SETTINGS);
    let bell: Bell | undefined;
    const stream = new Reader(reader, {
      lent: false,
      hears: () => bell?.hears ?? false,
      // some are woken by each event, some by a few of them
      calm: { newsCount: 1 + Math.floor(Math.random() * 3), ms: 5 + Math.random() * 50 },
      ahead: new ReadAhead(new Unsettled()),
      take: async (_, __, window) => this.#take(window),
      onJoined: () => {},
      onCaughtUp: () => {},
      onUnrung: (changes) => {
        this.unrung += changes;
      },
    });
    bell = await listen(url, () => stream.ring(), this.#fail);
    stream.join(lanes);
    const ended = stream.run().catch(() => {});
    this.#all.push({ lanes: lanes.map(({ lane }) => lane), reader, bell, stream, ended });
  }

  async #end({ reader, bell, stream, ended }: Sleeper, how: 'in order' | 'at once'): Promise<void> {
    stream.stop();
    if (how === 'at once') reader.end().catch(() => {});
    await ended;
    await bell.close();
    await reader.end().catch(() => {});
  }

  #take({ changes }: Window): [] {
    for (const { data } of changes) {
      const id = Number(/"id":(\d+)/.exec(data ?? '')?.[1]);
      this.#arrived.add(id);
      this.#waiting.get(id)?.();
      this.#waiting.delete(id);
    }
    return [];
  }

  readonly #fail = (error: Error) => {
    this.#failure = error;
  };
}
