import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { withClient } from '../../src/database/connections.ts';
import { migrate } from '../../src/database/migrations.ts';
import { caughtUp, startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';

const tenant = '11111111-1111-4111-8111-111111111111';
let database: TestDatabase;
let receiver: Receiver;
let daemon: Daemon | undefined;

beforeEach(async () => {
  database = await createDatabase({ crm: true });
  receiver = await startReceiver();
  await database.query(
    "insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ($1, 'all', $2, '{*}')",
    [tenant, receiver.url('/')],
  );
});

afterEach(async () => {
  await daemon?.stop();
  await receiver.close();
  await database.drop();
});

const insert = (...names: string[]) =>
  database.query('insert into clients (organization_id, name) select $1, n from unnest($2::text[]) n', [tenant, names]);
const received = () => receiver.requests.map((request) => JSON.parse(request.body.toString()).data.name as string);
const incarnationOf = (name: string) =>
  receiver.requests
    .find((request) => JSON.parse(request.body.toString()).data.name === name)
    ?.headers['webhook-id']?.split('_')[1];

/** Delivers a and b, and leaves c and d undelivered: c before the position's snapshot was taken, still running; d after it. */
async function deliverHalf(): Promise<void> {
  const late = await database.pool.connect();
  await late.query('begin');
  await late.query("insert into clients (organization_id, name) values ($1, 'c')", [tenant]);
  daemon = await startTestDaemon(database);
  await insert('a', 'b');
  await receiver.waitFor(2);
  await caughtUp(database);
  await daemon.stop();
  await late.query('commit');
  late.release();
  await insert('d');
}

/** As a dump of this database would look in a cluster whose transaction ids are `shift` behind. */
async function moveToAnotherCluster(shift: bigint): Promise<void> {
  await database.query(`
    create function pg_temp.shifted(s pg_snapshot) returns pg_snapshot language sql as $$
      select ((pg_snapshot_xmin(s)::text::bigint + ${shift}) || ':' || (pg_snapshot_xmax(s)::text::bigint + ${shift}) || ':' ||
        coalesce((select string_agg((x::text::bigint + ${shift})::text, ',') from pg_snapshot_xip(s) x), ''))::pg_snapshot $$;
    update rowhook.webhook_outbox set xid = (xid::text::bigint + ${shift})::text::xid8;
    update rowhook.webhook_lanes set from_snapshot = pg_temp.shifted(from_snapshot);
    update rowhook.webhook_installation set system_identifier = 4711;
  `);
}

for (const [name, shift] of [
  ['a smaller transaction counter', 1_000_000n],
  ['a larger transaction counter', -300n],
] as const) {
  test(`in a cluster with ${name} exactly what was undelivered is delivered, and new events after it`, async () => {
    await deliverHalf();
    await moveToAnotherCluster(shift);
    await insert('e');
    receiver.clear();
    daemon = await startTestDaemon(database);
    await insert('f');
    await receiver.waitFor(4);
    await caughtUp(database);
    expect(received().sort()).toEqual(['c', 'd', 'e', 'f']);
    // what was written since the position may have an id that was sent from the other cluster: it gets a new one
    for (const later of ['d', 'e', 'f']) expect(incarnationOf(later)).not.toBe(incarnationOf('c'));
  });
}

test('moved without its sequence it hands out no id again', async () => {
  await deliverHalf();
  await moveToAnotherCluster(0n);
  const [{ last }] = (await database.query('select max(id)::int as last from rowhook.webhook_outbox')) as [
    { last: number },
  ];
  await database.query("select setval('rowhook.webhook_outbox_id_seq', 1)");
  daemon = await startTestDaemon(database);
  const noticed = () => database.query('select from rowhook.webhook_installation where system_identifier <> 4711');
  await waitUntil('it has noticed', async () => (await noticed()).length > 0);
  await insert('f');
  await receiver.waitFor((request) => JSON.parse(request.body.toString()).data.name === 'f');
  const [{ id }] = (await database.query("select id::int from rowhook.webhook_outbox where data ->> 'name' = 'f'")) as [
    { id: number },
  ];
  expect(id).toBeGreaterThan(last);
});

test('on another timeline of the same cluster a new incarnation begins, and nothing is sent twice', async () => {
  await deliverHalf();
  await database.query("update rowhook.webhook_installation set timeline = 'before'");
  receiver.clear();
  daemon = await startTestDaemon(database);
  await insert('f');
  await receiver.waitFor(3);
  await caughtUp(database);
  expect(received().sort()).toEqual(['c', 'd', 'f']);
  expect(incarnationOf('f')).not.toBe(incarnationOf('c'));
});

test('where the server tells neither its timeline nor its cluster, it works, and a restart begins a new incarnation', async () => {
  const bare = await createDatabase({ bare: true });
  try {
    for (const refused of [
      'pg_walfile_name(pg_lsn)',
      'pg_current_wal_lsn()',
      'pg_control_system()',
      'pg_control_checkpoint()',
    ])
      await bare.query(`revoke execute on function ${refused} from public`);
    await withClient(bare.url, 'rowhook cli', (client) => migrate(client));
    const noticed = async () => (await bare.query('select rowhook._notice_restore() as what'))[0]?.what;
    const incarnation = async () =>
      (await bare.query('select incarnation from rowhook.webhook_incarnations order by starts_at_id desc limit 1'))[0]
        ?.incarnation;
    const first = await incarnation();
    expect(await noticed()).toBe(null);
    expect(await incarnation()).toBe(first);
    await bare.query("update rowhook.webhook_installation set timeline = 'start 4711'");
    expect([await noticed(), await noticed()]).toEqual(['new timeline', null]);
    const second = await incarnation();
    expect(second).not.toBe(first);
    // a copy still has other oids
    await bare.query("update rowhook.webhook_installation set table_oid = '4711'");
    expect([await noticed(), await noticed()]).toEqual(['moved', null]);
    expect(await incarnation()).not.toBe(second);
    // and what is told again later is no move
    await bare.query('grant execute on function pg_control_system() to public');
    expect(await noticed()).toBe(null);
  } finally {
    await bare.drop();
  }
});

/** A function of PostgreSQL, called by its name here, that is replaced in this database. */
async function replaced(bare: TestDatabase, signature: string, returns: string, body: string): Promise<void> {
  const name = signature.replace(/\(.*/, '');
  await bare.query(
    `set allow_system_table_mods = on;
     alter function pg_catalog.${signature} rename to ${name}_before;
     create function pg_catalog.${signature} returns ${returns} language plpgsql as $$ begin ${body} end $$;
     reset allow_system_table_mods`,
  );
}

test.each([
  [
    'refuses even the time when it was started',
    async (bare: TestDatabase) => {
      for (const refused of ['pg_walfile_name(pg_lsn)', 'pg_postmaster_start_time()', 'pg_control_system()'])
        await bare.query(`revoke execute on function ${refused} from public`);
    },
    'unknown',
  ],
  [
    'answers null',
    async (bare: TestDatabase) => {
      await replaced(bare, 'pg_walfile_name(pg_lsn)', 'text', 'return null;');
      await bare.query('alter function pg_catalog.pg_control_system() rename to pg_control_system_before');
      await replaced(bare, 'pg_postmaster_start_time()', 'timestamptz', 'return null;');
    },
    'unknown',
  ],
  [
    'has no such function as it should be',
    async (bare: TestDatabase) => {
      await replaced(bare, 'pg_current_wal_lsn()', 'pg_lsn', "raise exception using errcode = '0A000';");
      await bare.query('alter function pg_catalog.pg_control_system() rename to pg_control_system_before');
    },
    'start',
  ],
] as const)(
  'where the server %s, before the installation or after it, it works, and a move is noticed',
  async (_, refuse, told) => {
    for (const when of ['before', 'after']) {
      const bare = await createDatabase({ bare: true });
      try {
        const noticed = async () => (await bare.query('select rowhook._notice_restore() as what'))[0]?.what;
        if (when === 'before') await refuse(bare);
        await withClient(bare.url, 'rowhook cli', (client) => migrate(client));
        const [before] = await bare.query('select system_identifier from rowhook.webhook_installation');
        if (when === 'after') await refuse(bare);
        expect([await noticed(), await noticed()]).toEqual([when === 'before' ? null : 'new timeline', null]);
        const [row] = await bare.query('select system_identifier, timeline from rowhook.webhook_installation');
        expect(row).toMatchObject({ timeline: expect.stringMatching(`^${told}`) });
        // what was known is kept for the day when it is told again
        expect(row).toMatchObject(before ?? {});
        await bare.query("update rowhook.webhook_installation set table_oid = '4711'");
        expect([await noticed(), await noticed()]).toEqual(['moved', null]);
      } finally {
        await bare.drop();
      }
    }
  },
);
