// What capture costs the app's own backend: CPU time of statements on one row, over the same table without a trigger. The
// measure is what a hand-written outbox costs there. All tables take turns within one run, and the kernel accounts the CPU
// time of the backend, so a busy machine changes the figures little.

import pg from 'pg';
import { createWebhooks, TENANT } from './drain.ts';
import { type Figure, quantile } from './figure.ts';
import { cpuMsOf } from './host.ts';
import type { Database, Stage } from './stage.ts';

const NOBODY = '00000000-0000-4000-8000-999999999999';
const APP = 'bench_app';
const KINDS = ['INSERT', 'UPDATE', 'DELETE'] as const;
type Kind = (typeof KINDS)[number];

/** Statements of one kind before the next table has its turn: a few milliseconds, in which a backend keeps its core. */
const STATEMENTS = 40;
/** Turns of each table in a round. */
const TURNS = 20;
/** Others on the machine only ever add CPU time, by emptying its caches. */
const QUIET = 0.25;

/** What rowhook may cost, in costs of the hand-written outbox. */
const REACH = {
  INSERT: { with: 1.8, without: 0.7 },
  UPDATE: { with: 2.2, without: 0.8 },
  DELETE: { with: 1.5, without: 0.6 },
} as const;

/** What people write who need an outbox: no filter, no order, no NOTIFY, and nothing that empties it. */
const HAND_WRITTEN = `
  create table hand_outbox (
    id         bigint      generated always as identity primary key,
    created_at timestamptz not null default now(),
    tenant_id  text        not null,
    operation  text        not null,
    data       jsonb       not null,
    previous   jsonb
  );
  create index on hand_outbox (tenant_id, id);
  create function hand_capture() returns trigger language plpgsql as $$
  begin
    if tg_op = 'INSERT' then
      insert into hand_outbox (tenant_id, operation, data) values (new.organization_id, tg_op, to_jsonb(new));
    elsif tg_op = 'UPDATE' then
      insert into hand_outbox (tenant_id, operation, data, previous)
      values (new.organization_id, tg_op, to_jsonb(new), to_jsonb(old));
    else
      insert into hand_outbox (tenant_id, operation, data) values (old.organization_id, tg_op, to_jsonb(old));
    end if;
    return null;
  end $$;
  create trigger hand_capture after insert or update or delete on hand
    for each row execute function hand_capture()`;

async function createTables(database: Database): Promise<void> {
  for (const table of ['plain', 'hand']) {
    await database.query(`create table ${table} (like deals including all)`);
    await database.query(`alter table ${table} add foreign key (contact_id) references contacts on delete cascade`);
  }
  await database.query(HAND_WRITTEN);
  // An application's login is no superuser: PostgreSQL checks the privileges of each statement and function.
  await database.query(`create role ${APP}`);
  await database.query(`grant select, insert, update, delete on deals, plain, hand, hand_outbox to ${APP}`);
}

const SQL: Record<Kind, (table: string) => string> = {
  INSERT: (table) => `insert into ${table} (id, organization_id, title, value, assigned_to, expected_close)
                      values ($1, $2, 'A deal of some size', 12.5, $2, date '2030-01-01')`,
  UPDATE: (table) => `update ${table} set stage = 'won', updated_at = clock_timestamp() where id = $1`,
  DELETE: (table) => `delete from ${table} where id = $1`,
};

const IDS = Array.from({ length: STATEMENTS }, (_, n) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`);

/** Microseconds on a CPU of one statement of each kind, in transactions of their own. */
async function turn(client: pg.Client, pid: number, table: string, tenant: string): Promise<number[]> {
  const costs: number[] = [];
  for (const kind of KINDS) {
    const before = cpuMsOf(pid);
    for (const id of IDS) {
      const values = kind === 'INSERT' ? [id, tenant] : [id];
      await client.query({ name: `${kind} ${table}`, text: SQL[kind](table), values });
    }
    costs.push(((cpuMsOf(pid) - before) * 1000) / STATEMENTS);
  }
  return costs;
}

/** One backend, whose tables take turns: the costs of each by kind. */
async function inTurns(database: Database, turns: number): Promise<Record<string, number[][]>> {
  const client = new pg.Client(database.url);
  await client.connect();
  const variants = { plain: TENANT, hand: TENANT, with: TENANT, without: NOBODY } as const;
  const seen: Record<string, number[][]> = { plain: [], hand: [], with: [], without: [] };
  try {
    const pid = (await client.query('select pg_backend_pid() as pid')).rows[0].pid as number;
    await client.query(`set role ${APP}`);
    for (let n = 0; n <= turns; n++) {
      if (n % TURNS === 0) await database.query('truncate deals, plain, hand, hand_outbox, rowhook.webhook_outbox');
      for (const [variant, tenant] of Object.entries(variants)) {
        const table = variant.startsWith('with') ? 'deals' : variant;
        const costs = await turn(client, pid, table, tenant);
        // the first turn makes the plans of the session
        if (n > 0) seen[variant]?.push(costs);
      }
    }
  } finally {
    await client.end();
  }
  return seen;
}

export function statements(stage: Stage): Promise<Figure[]> {
  return stage.database(async (database) => {
    await createTables(database);
    await createWebhooks(database, { events: 0 });
    await database.query('update rowhook.webhook_configurations set event_types = $1', [['deal.*']]);
    const seen = await inTurns(database, stage.options.rounds * TURNS);
    return KINDS.flatMap((kind, k) => {
      const us = (variant: string) =>
        quantile(
          (seen[variant] ?? []).map((costs) => costs[k] as number),
          QUIET,
        );
      const baseline = us('hand') - us('plain');
      return (['with', 'without'] as const).map((who): Figure => {
        const value = us(who) - us('plain');
        return {
          what: `CPU of a backend, ${kind} of one row, tenant ${who} webhooks, against a hand-written outbox`,
          unit: 'us over no trigger',
          value,
          baseline,
          ratio: value / baseline,
          reach: { most: REACH[kind][who] },
          detail: `the statement itself takes ${us('plain').toFixed(0)} us`,
        };
      });
    });
  });
}
