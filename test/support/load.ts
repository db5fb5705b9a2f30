import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { TestDatabase } from './database.ts';

/** Writes rows one after another, through whatever happens to the server, until it is stopped. */
export class Load {
  /** Ids of rows whose commit was acknowledged. What broke off in between may have committed as well. */
  readonly acknowledged: number[] = [];
  readonly #database: TestDatabase;
  readonly #running: Promise<unknown>;
  #stopped = false;
  #next = 1;

  private constructor(database: TestDatabase, { writers, pauseMs }: { writers: number; pauseMs: number }) {
    this.#database = database;
    this.#running = Promise.all(Array.from({ length: writers }, () => this.#write(pauseMs)));
  }

  /** Makes the table `items`, watched, for one tenant, `acme`. */
  static async start(database: TestDatabase, { writers = 3, pauseMs = 6 } = {}): Promise<Load> {
    await database.query(`
      create table if not exists items (id int primary key, tenant_id text not null default 'acme');
      select rowhook.watch('items')`);
    return new Load(database, { writers, pauseMs });
  }

  /** Ends it, and returns every row there is. */
  async stop(): Promise<number[]> {
    this.#stopped = true;
    await this.#running;
    const rows = await this.#database.query<{ id: number }>('select id from items order by id');
    return rows.map(({ id }) => id);
  }

  async #write(pauseMs: number): Promise<void> {
    let client: pg.Client | undefined;
    while (!this.#stopped) {
      const id = this.#next++;
      try {
        client ??= await this.#connect();
        await client.query('insert into items (id) values ($1)', [id]);
        this.acknowledged.push(id);
      } catch {
        await client?.end().catch(() => {});
        client = undefined;
      }
      await sleep(pauseMs);
    }
    await client?.end();
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client(this.#database.url);
    client.on('error', () => {});
    await client.connect();
    return client;
  }
}
