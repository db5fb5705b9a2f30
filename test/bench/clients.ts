// What capture costs the app: transactions of one INSERT, and statements of many rows, on a watched table against the same
// table unwatched, in turns.

import { Child } from './child.ts';
import { createWebhooks, TENANT } from './drain.ts';
import { type Figure, figureOf, inTurns, type Pair } from './figure.ts';
import { quietly } from './host.ts';
import type { Load } from './load.ts';
import type { Database, Stage } from './stage.ts';

const NOBODY = '00000000-0000-4000-8000-999999999999';
const FLUSH_US = 2_000;

const insertInto = (table: string, tenant: string) =>
  `insert into ${table} (organization_id, title, value, assigned_to, expected_close)
   values ('${tenant}', 'A deal of some size', 12.5, '${tenant}', date '2030-01-01')`;

/** The table of deals once more, unwatched, with all its indexes and keys. */
async function createPlain(database: Database): Promise<void> {
  await database.query('create table plain (like deals including all)');
  await database.query('alter table plain add foreign key (contact_id) references contacts on delete cascade');
}

/** Each commit is flushed, and its flush takes 2 ms; or none is. */
async function slowFlush(database: Database, slow: boolean): Promise<void> {
  const settings = slow
    ? { fsync: 'on', commit_delay: FLUSH_US, commit_siblings: 0 }
    : { fsync: database.stage.options.flushes ? 'on' : 'off', commit_delay: 0, commit_siblings: 5 };
  for (const [name, value] of Object.entries(settings)) await database.query(`alter system set ${name} = ${value}`);
  await database.query('select pg_reload_conf()');
}

export function clients(stage: Stage): Promise<Figure[]> {
  return stage.database(async (database) => {
    await createPlain(database);
    await createWebhooks(database, { events: 0 });
    await stage.receiver.ask('reset', { every: 1_000_000 });
    const load = new Child('load.ts');
    const daemon = database.startDaemon();
    const seconds = stage.seconds(5);
    const rate = (of: Partial<Load>) => load.ask<number>('run', { url: database.url, seconds, ...of });
    const figures: Figure[] = [];
    try {
      for (const slow of [false, true]) {
        await slowFlush(database, slow);
        for (const tenant of [TENANT, NOBODY]) {
          for (const clients of [1, 16]) {
            const run = async (table: string): Promise<number> => {
              const value = await quietly(() => rate({ clients, sql: insertInto(table, tenant) }));
              await database.settled();
              await database.query('truncate deals, plain');
              return value;
            };
            const pairs = await inTurns(
              stage.options.rounds + 2,
              () => run('plain'),
              () => run('deals'),
            );
            const who = tenant === TENANT ? 'with webhooks, daemon busy' : 'without webhooks';
            const what = `INSERT of one row, ${clients} ${clients === 1 ? 'client' : 'clients'}, tenant ${who}${slow ? ', flush of 2 ms' : ''}`;
            figures.push(
              figureOf(what, 'transactions/s', pairs, {
                least: tenant === TENANT ? (slow ? 0.9 : 0.65) : slow ? 0.95 : 0.85,
              }),
            );
          }
        }
      }
      // what of it is capture, and what is the daemon on the same cores
      await slowFlush(database, false);
      await database.stopDaemon(daemon);
      for (const clients of [1, 16]) {
        const run = (table: string) => quietly(() => rate({ clients, sql: insertInto(table, TENANT) }));
        const pairs = await inTurns(
          stage.options.rounds + 2,
          () => run('plain'),
          () => run('deals'),
        );
        figures.push(
          figureOf(
            `the same with webhooks, ${clients} ${clients === 1 ? 'client' : 'clients'}, no daemon`,
            'transactions/s',
            pairs,
            null,
          ),
        );
      }
    } finally {
      await load.stop();
      await slowFlush(database, false);
    }
    return figures;
  });
}

/** One statement for all rows: as a bulk load or a migration of data does it. */
export function bulk(stage: Stage): Promise<Figure[]> {
  return stage.database(async (database) => {
    await createPlain(database);
    await createWebhooks(database, { events: 0 });
    await database.query('update rowhook.webhook_configurations set event_types = $1', [['deal.*']]);
    const rows = stage.size(100_000);
    const statements = (table: string, tenant: string): Record<string, string> => ({
      INSERT: `insert into ${table} (organization_id, title, value, assigned_to, expected_close)
               select '${tenant}', 'A deal of some size', n, '${tenant}', date '2030-01-01' from generate_series(1, ${rows}) as n`,
      UPDATE: `update ${table} set stage = 'won', updated_at = clock_timestamp()`,
      DELETE: `delete from ${table}`,
    });
    const time = async (sql: string): Promise<number> => {
      const startedAt = performance.now();
      await database.query(sql);
      return performance.now() - startedAt;
    };
    const seen = new Map<string, Pair[]>();
    for (let round = 0; round < stage.options.rounds + 2; round++) {
      for (const tenant of [TENANT, NOBODY]) {
        await database.query('truncate deals, plain, rowhook.webhook_outbox');
        for (const kind of ['INSERT', 'UPDATE', 'DELETE']) {
          // a statement that was measured cannot be run again on the same rows, so the steal is only told
          const baseline = await quietly(() => time(statements('plain', tenant)[kind] as string), 1);
          const value = await quietly(() => time(statements('deals', tenant)[kind] as string), 1);
          const what = `${kind} of ${rows.toLocaleString('en')} rows, tenant ${tenant === TENANT ? 'with' : 'without'} webhooks`;
          seen.set(what, [...(seen.get(what) ?? []), { baseline, value }]);
        }
      }
    }
    return [...seen].map(([what, pairs]) =>
      figureOf(what, 'ms', pairs, { most: what.includes('without') ? 1.2 : 2.5 }),
    );
  });
}
