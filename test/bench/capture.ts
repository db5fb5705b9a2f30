// What capture costs the app: node test/bench/capture.ts [15|18]. CPU time of the backend, least of several runs, so that a
// busy machine shows as little as possible. Linux only.

import { readFileSync } from 'node:fs';
import pg from 'pg';
import { migrate } from '../../src/database/migrations.ts';
import { startEmbedded } from '../../src/demo/postgres.ts';

const ROWS = 100_000;
const STATEMENTS = 500;
const RUNS = 5;
const tenant = '00000000-0000-4000-8000-000000000001';

const server = await startEmbedded({ major: process.argv[2] === '15' ? 15 : 18, settings: { fsync: 'off' } });
const client = new pg.Client(server.url);
await client.connect();
await migrate(client);
await client.query(readFileSync(new URL('../../sql/crm.sql', import.meta.url), 'utf8'));
await client.query("set synchronous_commit = off; set rowhook.mute = 'off'");
const pid = (await client.query('select pg_backend_pid() as pid')).rows[0].pid;

/** Nanoseconds on a CPU. */
const cpu = () => Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]);

/** Microseconds of each statement, for one unit of `units`. */
async function cost(statements: readonly string[], units: number): Promise<number> {
  const before = cpu();
  for (const statement of statements) await client.query(statement);
  return (cpu() - before) / 1000 / units;
}

const columns = 'id, organization_id, title, value, assigned_to, expected_close';
const values = (id: string) => `${id}, '${tenant}'::uuid, 'A deal', 12.5, '${tenant}'::uuid, date '2030-01-01'`;

async function bulk(): Promise<number[]> {
  await client.query('truncate deals; truncate rowhook.webhook_outbox');
  return [
    await cost(
      [`insert into deals (${columns}) select ${values('gen_random_uuid()')} from generate_series(1, ${ROWS})`],
      ROWS,
    ),
    await cost(["update deals set stage = 'won', updated_at = clock_timestamp()"], ROWS),
    await cost(['delete from deals'], ROWS),
  ];
}

async function single(): Promise<number[]> {
  await client.query('truncate deals; truncate rowhook.webhook_outbox');
  const ids = Array.from({ length: STATEMENTS }, (_, n) => `'00000000-0000-4000-8000-${String(n).padStart(12, '0')}'`);
  return [
    await cost(
      ids.map((id) => `insert into deals (${columns}) values (${values(id)})`),
      STATEMENTS,
    ),
    await cost(
      ids.map((id) => `update deals set stage = 'won' where id = ${id}`),
      STATEMENTS,
    ),
    await cost(
      ids.map((id) => `delete from deals where id = ${id}`),
      STATEMENTS,
    ),
  ];
}

async function least(measure: () => Promise<number[]>): Promise<string> {
  const runs: number[][] = [];
  for (let run = 0; run < RUNS; run++) runs.push(await measure());
  return [0, 1, 2]
    .map((n) =>
      Math.min(...runs.map((run) => run[n] as number))
        .toFixed(1)
        .padStart(7),
    )
    .join('');
}

async function report(situation: string): Promise<void> {
  console.log(`${situation.padEnd(26)}${await least(bulk)}    ${await least(single)}`);
}

console.log(`PostgreSQL ${server.major}, CPU microseconds     a row of ${ROWS}      a statement of one row`);
console.log('                           INSERT UPDATE DELETE     INSERT UPDATE DELETE');
await report('not watched');
await client.query("select rowhook.watch_preset('crm'); set rowhook.mute = 'on'");
await report('muted');
await client.query("set rowhook.mute = 'off'");
await report('watched, no webhook');
await client.query(
  `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('${tenant}', 'w', 'https://example.com/', '{*}')`,
);
await report('watched, a webhook for *');
await client.end();
await server.stop('immediate');
