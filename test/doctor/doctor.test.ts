// Each fault is made on a real server, and found; a healthy installation has none.

import { randomBytes } from 'node:crypto';
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { bySetting } from '../../src/capture/muted-sessions.ts';
import { captureCost } from '../../src/doctor/checks/capture-cost.ts';
import { NEEDED } from '../../src/doctor/checks/privileges.ts';
import { badMinor, versionRemarks } from '../../src/doctor/checks/server.ts';
import { examine, type NamedResult } from '../../src/doctor/checks.ts';
import { type Examination, LIMITS, type Limits } from '../../src/doctor/finding.ts';
import { rowhook } from '../support/cli.ts';
import { connected as connectedTo } from '../support/connected.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { hasPgBouncer, startPgBouncer } from '../support/pgbouncer.ts';
import { startServer, wantedMajor } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';

const ALL_LANES = 'update rowhook.webhook_lanes set';

let database: TestDatabase;

/** A daemon on another machine owns all lanes. */
async function elsewhere(of: TestDatabase): Promise<void> {
  await of.query(
    `insert into rowhook.webhook_daemons (id, name, lease_expires_at)
     values ('00000000-0000-4000-8000-000000000000', 'elsewhere:1', now() + interval '50 s')
     on conflict (id) do update set lease_expires_at = excluded.lease_expires_at`,
  );
  await of.query(`${ALL_LANES} owner = '00000000-0000-4000-8000-000000000000', position_at = now()`);
}

beforeAll(async () => {
  database = await createDatabase({ crm: true });
});

afterAll(() => database.drop());

// a daemon that is somewhere else
beforeEach(async () => {
  await elsewhere(database);
});

/** What the doctor finds, without what is fine. */
async function findings({
  limits = {},
  url = database.url,
  kinds = ['error', 'warning'],
  ...more
}: Partial<Omit<Examination, 'limits'>> & {
  limits?: Partial<Limits>;
  url?: string;
  kinds?: NamedResult['kind'][];
} = {}): Promise<NamedResult[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    const results = await examine({
      client,
      databaseUrl: url,
      wake: 'notify',
      environment: undefined,
      limits: { ...LIMITS, ...limits },
      now: Date.now,
      ...more,
    });
    return results.filter(({ kind }) => kinds.includes(kind));
  } finally {
    await client.end();
  }
}

/** The one finding of a check. */
async function findingOf(check: string, options: Parameters<typeof findings>[0] = {}): Promise<NamedResult> {
  const found = (await findings(options)).filter((result) => result.check === check);
  expect(found).toHaveLength(1);
  return found[0] as NamedResult;
}

const connected = <T>(work: (client: pg.Client) => Promise<T>, url = database.url) => connectedTo(url, work);

/** A login of its own; roles belong to the cluster. */
async function withRole<T>(work: (role: string, url: string) => Promise<T>): Promise<T> {
  const role = `rowhook_test_${randomBytes(6).toString('hex')}`;
  await database.query(`create role ${role} login password 'secret'`);
  try {
    return await work(role, databaseUrl(database.url, database.name, role, 'secret'));
  } finally {
    await database.query(`drop owned by ${role}; drop role ${role}`);
  }
}

describe('a healthy installation has no findings', () => {
  test.each(['owner', 'daemon'] as const)('as seen by the %s', async (who) => {
    const healthy = await createDatabase({ crm: true });
    const daemon = await startTestDaemon(healthy);
    try {
      const url = who === 'owner' ? healthy.url : healthy.daemonUrl;
      const { code, stdout, stderr } = await rowhook(['doctor', '--json'], { env: { DATABASE_URL: url } });
      const results = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      expect(results.filter(({ kind }) => kind === 'error' || kind === 'warning')).toEqual([]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(new Set(results.map(({ check }) => check))).toEqual(
        new Set([
          'server',
          'schema',
          'listen',
          'notify queue',
          'clock',
          'transactions',
          'prepared transactions',
          'locks',
          'privileges',
          'triggers',
          'printing',
          'columns',
          'muted',
          'daemons',
          'webhooks',
          'events',
          'slots',
          'log days',
          'inbound',
          'tenants',
        ]),
      );
    } finally {
      await daemon.stop();
      await healthy.drop();
    }
  });
});

describe('the command', () => {
  test('tells what, why and how to fix it, and exits 1 when something keeps events back', async () => {
    await database.query(`${ALL_LANES} owner = null`);
    const { code, stdout } = await rowhook(['doctor'], { env: { DATABASE_URL: database.url } });
    expect(stdout).toMatch(/\n✗ daemons +no daemon is running\n +Events are captured and stored.*\n +rowhook start\n/);
    expect(stdout).toMatch(/\n1 error that stops or delays events, 0 warnings\.\n$/);
    expect(code).toBe(1);
  });

  test('exits 0 when there are only warnings', async () => {
    const empty = await createDatabase();
    await elsewhere(empty);
    const { code, stdout } = await rowhook(['doctor'], { env: { DATABASE_URL: empty.url } });
    expect(stdout).toMatch(/\n! triggers +no table is watched\n/);
    expect(stdout).toMatch(/\n0 errors, 1 warning\.\n$/);
    expect(code).toBe(0);
    await empty.drop();
  });
});

describe('server', () => {
  test.each([150009, 160005, 170001, 150016, 160012, 170008, 180002])('%i is known to be bad', (version) => {
    expect(badMinor(version)).toMatch(/\S/);
    expect(versionRemarks(version, '1.2')).toMatchObject([{ kind: 'warning', what: expect.stringContaining('1.2') }]);
  });

  test('others are not, and one before 15 is too old', () => {
    for (const version of [150008, 150010, 160006, 170002, 180003]) expect(badMinor(version)).toBeUndefined();
    expect(versionRemarks(140005, '14.5')).toMatchObject([{ kind: 'error', what: 'this server is PostgreSQL 14.5' }]);
  });

  test('a hot standby; a server on which no trigger fires', async () => {
    const server = await startServer();
    try {
      await appendFile(join(server.embedded.dataDir, 'postgresql.conf'), "\nsession_replication_role = 'replica'\n");
      const muting = () => connected(bySetting, server.database.url);
      await server.database.query('select pg_reload_conf()');
      const [muted] = await waitUntil('it is muted', async () => {
        const found = await muting();
        return found.length > 0 && found;
      });
      expect(muted?.what).toBe('session_replication_role=replica is set for the whole server');
      // ALTER SYSTEM runs by itself, as psql sends it
      for (const statement of muted?.fix.split('; ') ?? []) await server.database.query(statement);
      await waitUntil('it is not', async () => (await muting()).length === 0);

      await server.embedded.stop();
      await writeFile(join(server.embedded.dataDir, 'standby.signal'), '');
      await server.embedded.start();
      const found = await findings({ url: server.database.url });
      expect(found).toMatchObject([{ check: 'server', kind: 'error', what: 'this server is a hot standby' }]);
      await server.database.query(/select .*;/.exec((found[0] as { fix: string }).fix)?.[0] ?? '');
      const promoted = await findings({ url: server.database.url });
      expect(promoted.filter(({ check }) => check === 'server')).toEqual([]);
    } finally {
      await server.stop();
    }
  });
});

describe('schema', () => {
  test('is missing, older or newer', async () => {
    const other = await createDatabase({ bare: true });
    const said = async () => {
      const { what, fix } = (await findingOf('schema', { url: other.url })) as { what: string; fix: string };
      return [what, fix];
    };
    expect(await said()).toEqual(['the schema rowhook does not exist', 'rowhook migrate']);
    await other.query('create schema rowhook authorization rowhook_owner');
    const version = (n: number) =>
      other.query(`create or replace function rowhook.schema_version() returns int language sql return ${n}`);
    await version(1);
    expect(await said()).toEqual([expect.stringContaining('is at version 1,'), 'rowhook migrate']);
    await version(1_000);
    expect(await said()).toEqual([
      expect.stringContaining('is at version 1000,'),
      expect.stringContaining('npm install'),
    ]);
    await other.drop();
  });
});

describe('privileges', () => {
  /** What the doctor says of a login, after which its remedy has been run. */
  async function mended(url: string): Promise<string> {
    const [schema] = (await findings({ url, kinds: ['unseen'] })).filter(({ check }) => check === 'schema');
    const { what, fix } = (await findingOf('privileges', { url })) as { what: string; fix: string };
    if (schema) expect(schema).toMatchObject({ fix });
    await database.query(fix);
    expect((await findings({ url })).filter(({ check }) => check === 'privileges')).toEqual([]);
    return what;
  }

  test('a login that is nobody, one that does not inherit, and a grant that is not inherited', () =>
    withRole(async (role, url) => {
      expect(await mended(url)).toBe(`${role} is not a member of rowhook_daemon or rowhook_owner`);
      await database.query(`revoke rowhook_daemon from ${role}; alter role ${role} noinherit`);
      expect(await mended(url)).toBe(`${role} is not a member of rowhook_daemon or rowhook_owner`);

      const uninherited = `${role} is a member of rowhook_daemon, but does not inherit its privileges`;
      const again = (statement: string) =>
        database.query(`revoke rowhook_daemon from ${role}; alter role ${role} noinherit; ${statement}`);
      await again(`grant rowhook_daemon to ${role}`);
      expect(await mended(url)).toBe(uninherited);
      if (wantedMajor >= 16) {
        await again(`alter role ${role} inherit; grant rowhook_daemon to ${role} with inherit false`);
        expect(await mended(url)).toBe(uninherited);
      }
      await again(`grant rowhook_daemon to ${role}`);
      const { code, stderr } = await rowhook(['start'], { env: { DATABASE_URL: url } });
      expect(code).toBe(1);
      expect(stderr).toContain(
        `permission denied for schema rowhook. ${uninherited}. Let a DBA run: grant rowhook_daemon`,
      );
    }));

  test('what was revoked from rowhook_daemon, and the statement that grants it again', async () => {
    await database.query(
      'revoke update on rowhook.webhook_lanes from rowhook_daemon; revoke execute on function rowhook.reconcile from rowhook_daemon',
    );
    const found = await findingOf('privileges');
    expect(found).toMatchObject({
      kind: 'error',
      what: 'rowhook_daemon lacks update on webhook_lanes, execute on reconcile',
    });
    await database.query((found as { fix: string }).fix);
    expect((await findings()).filter(({ check }) => check === 'privileges')).toEqual([]);
  });

  test('the list of what is needed is what the migrations grant', async () => {
    const granted = await database.query<{ kind: string; object: string; privileges: string }>(
      `select case c.relkind when 'S' then 'sequence' else 'table' end as kind, c.relname as object,
              string_agg(lower(a.privilege_type), ', ') as privileges
         from pg_class c cross join aclexplode(c.relacl) as a
        where c.relnamespace = 'rowhook'::regnamespace and a.grantee = 'rowhook_daemon'::regrole
        group by 1, 2`,
    );
    const asList = (kind: string) =>
      Object.fromEntries(
        granted.filter((row) => row.kind === kind).map((row) => [row.object, row.privileges.split(', ').sort()]),
      );
    const needed = (kind: 'table' | 'sequence') =>
      Object.fromEntries(Object.entries(NEEDED[kind]).map(([object, list]) => [object, list.split(', ').sort()]));
    expect(needed('table')).toEqual(asList('table'));
    expect(needed('sequence')).toEqual(asList('sequence'));
    const functions = await database.query<{ name: string }>(
      `select distinct p.proname as name from pg_proc p cross join aclexplode(p.proacl) as a
        where p.pronamespace = 'rowhook'::regnamespace and a.grantee = 'rowhook_daemon'::regrole`,
    );
    expect(functions.map(({ name }) => name)).toEqual(expect.arrayContaining(Object.keys(NEEDED.function)));
  });

  test('a daemon that is a superuser', () =>
    connected(async () => {
      expect(await findingOf('privileges')).toMatchObject({
        kind: 'warning',
        what: expect.stringMatching(/may do anything$/),
      });
    }, `${database.url}?application_name=rowhook%20reader`));
});

describe('triggers', () => {
  test('one that is disabled, or fires for replicas only', async () => {
    await database.query(
      'alter table deals disable trigger rowhook_update; alter table deals enable replica trigger rowhook_delete',
    );
    const found = await findingOf('triggers');
    expect(found).toMatchObject({
      kind: 'error',
      what: 'public.deals: rowhook_delete is enabled for replicas only, rowhook_update is disabled',
    });
    await database.query((found as { fix: string }).fix);
    expect((await findings()).filter(({ check }) => check === 'triggers')).toEqual([]);
  });

  test('one that is missing, and a new partition', async () => {
    await database.query(
      `drop trigger rowhook_insert on notes;
       create table parted (id int primary key, tenant_id text) partition by list (id);
       create table parted_1 partition of parted for values in (1);
       select rowhook.watch('parted');
       create table parted_2 partition of parted for values in (2)`,
    );
    const whats = (await findings()).map((finding) => finding.what);
    expect(whats).toEqual([
      'public.notes lacks rowhook_insert',
      'partition public.parted_2 lacks rowhook_delete, rowhook_insert, rowhook_update',
    ]);
    await database.query('select * from rowhook.reconcile()');
    expect(await findings()).toEqual([]);
    await database.query("select rowhook.unwatch('parted'); drop table parted");
  });

  test('a table that was dropped, one that lost its tenant, and a foreign table under one', async () => {
    await database.query(
      `create table going (id int primary key, tenant_id text);
       create table losing (id int primary key, tenant_id text);
       create table parent (id int, tenant_id text) partition by list (id);
       select rowhook.watch('going'), rowhook.watch('losing'), rowhook.watch('parent');
       drop table going;
       alter table losing drop column tenant_id;
       create foreign data wrapper nowhere;
       create server nowhere foreign data wrapper nowhere;
       create foreign table far partition of parent for values in (7) server nowhere`,
    );
    expect(await findings()).toMatchObject([
      {
        kind: 'warning',
        what: 'the watched table public.going was dropped',
        fix: "select rowhook.unwatch('public.going');",
      },
      {
        kind: 'error',
        what: 'public.losing has lost its column tenant_id, which names the tenant',
        fix: "select rowhook.watch('public.losing', prefix => 'losing', tenant_column => '...');   -- with the column that names the tenant",
      },
      { kind: 'error', what: 'public.parent has a foreign table under it, public.far' },
    ]);
    await database.query(
      "select rowhook.unwatch('losing'), rowhook.unwatch('parent'), rowhook.unwatch('public.going')",
    );
    await database.query('drop table losing, parent; drop server nowhere; drop foreign data wrapper nowhere');
    expect(await findings()).toEqual([]);
  });
});

describe('muted', () => {
  test('a database or a role whose sessions fire no triggers', () =>
    withRole(async (role) => {
      await database.query(
        `alter database ${database.name} set session_replication_role = 'replica';
         alter role ${role} in database ${database.name} set rowhook.mute = 'on'`,
      );
      const found = (await findings()).filter(({ check }) => check === 'muted');
      expect(found).toHaveLength(2);
      for (const finding of found) {
        expect(finding.kind).toBe('error');
        await database.query((finding as { fix: string }).fix);
      }
      expect(await findings()).toEqual([]);
      // of all roles of the cluster: the tests beside this one must not see it
      await connected(async (client) => {
        await client.query("begin; alter role all set rowhook.mute = 'on'");
        const [everybody] = await bySetting(client);
        expect(everybody).toMatchObject({ kind: 'error', what: 'rowhook.mute=on is set for role all' });
        await client.query(everybody?.fix ?? '');
        expect(await bySetting(client)).toEqual([]);
      });
    }));

  test('a table that a subscription fills', async () => {
    await database.query(
      `create subscription far connection 'host=127.0.0.1' publication p with (connect = false, slot_name = none)`,
    );
    await database.query(
      `insert into pg_subscription_rel (srsubid, srrelid, srsubstate) select oid, 'deals'::regclass, 'r' from pg_subscription where subname = 'far'`,
    );
    try {
      expect(await findingOf('muted')).toMatchObject({
        kind: 'warning',
        what: 'public.deals is filled by the subscription far',
        fix: expect.stringMatching(/^rowhook watch public\.deals /),
      });
    } finally {
      await database.query('delete from pg_subscription_rel');
      await database.query('drop subscription far');
    }
  });
});

describe('daemons', () => {
  test('nobody owns the lanes, or some of them', async () => {
    await database.query(`${ALL_LANES} owner = gen_random_uuid() where lane < 4`);
    expect(await findingOf('daemons')).toMatchObject({ kind: 'error', what: 'no daemon owns 4 of 16 lanes' });
    await database.query("update rowhook.webhook_daemons set lease_expires_at = now() - interval '1 s'");
    expect(await findingOf('daemons')).toMatchObject({ what: 'no daemon is running', fix: 'rowhook start' });
    // in production, the line that is pasted starts no second daemon in a shell
    await database.query("update rowhook.webhook_installation set environment = 'production'");
    expect(await findingOf('daemons', { environment: 'production' })).toMatchObject({
      fix: expect.stringMatching(/^systemctl start rowhook {3}# or where/),
    });
    await database.query('update rowhook.webhook_installation set environment = null');
  });

  test('lanes that are being handed over are waited for, those that nobody takes are told', async () => {
    await database.query(`${ALL_LANES} owner = null where lane < 4`);
    expect(await findingOf('daemons', { limits: { handoverMs: 1 } })).toMatchObject({
      what: 'no daemon owns 4 of 16 lanes',
    });
    const found = findings({ limits: { handoverMs: 20_000 } });
    await waitUntil('it waits', async () => {
      const looking = await database.query(
        "select from pg_stat_activity where datname = current_database() and state = 'idle' and query like '%webhook_daemons where lease_expires_at%' and pid <> pg_backend_pid()",
      );
      return looking.length > 0;
    });
    await elsewhere(database);
    expect(await found).toEqual([]);
  });

  test('lanes that stand still while events wait', async () => {
    await database.query(
      `insert into rowhook.webhook_outbox (lane, tenant_id, event_types, occurred_at) values (5, 't', '{a.b}', now() - interval '3 minutes')`,
    );
    const moving = (await findings()).filter(({ check }) => check === 'daemons');
    expect(moving).toEqual([]);
    await database.query(`${ALL_LANES} position_at = now() - interval '2 minutes'`);
    expect(await findingOf('daemons')).toMatchObject({
      kind: 'error',
      what: 'lanes 5 do not move: an event has waited for 3 min',
    });
    await database.query(`${ALL_LANES} from_snapshot = pg_current_snapshot()`);
  });

  test('a tenant that lags for long', async () => {
    const [event] = await database.query<{ id: string; lane: number }>(
      "select rowhook.emit('a.b', '{}', 'slow') as id, rowhook._lane('slow') as lane",
    );
    await database.query(
      `insert into rowhook.webhook_lagging_tenants
       select lane, 'slow', from_snapshot, null, null, now(), $1 from rowhook.webhook_lanes where lane = $2`,
      [Number(event?.id) - 1, event?.lane],
    );
    await database.query(`${ALL_LANES} from_snapshot = pg_current_snapshot()`);
    expect((await findings()).filter(({ check }) => check === 'daemons')).toEqual([]);
    await database.query(
      "update rowhook.webhook_outbox set occurred_at = now() - interval '10 minutes' where id = $1",
      [event?.id],
    );
    expect(await findingOf('daemons')).toMatchObject({
      kind: 'warning',
      what: 'tenant slow lags by 1 event, and the oldest is 10 min old',
      fix: expect.stringContaining('rowhook logs --tenant slow '),
    });
    await database.query('delete from rowhook.webhook_lagging_tenants');
  });

  test('another environment', async () => {
    await database.query("update rowhook.webhook_installation set environment = 'production'");
    expect(await findings({ environment: 'production' })).toEqual([]);
    expect(await findingOf('daemons', { environment: 'staging' })).toMatchObject({ kind: 'warning' });
    await database.query('update rowhook.webhook_installation set environment = null');
  });
});

describe('transactions', () => {
  test('one that stays open, seen by the owner; an ordinary role says that it cannot see', () =>
    connected(async (client) => {
      await client.query("set application_name = 'forgotten'; begin; select pg_current_xact_id()");
      const [{ pid } = { pid: 0 }] = (await client.query('select pg_backend_pid() as pid')).rows;
      const found = (await findings({ limits: { transactionSeconds: 0 } })).find(({ what }) =>
        what.includes('forgotten'),
      );
      expect(found).toMatchObject({
        kind: 'warning',
        what: expect.stringMatching(/idle in transaction\) has been open for \d+ s$/),
        fix: `select pg_terminate_backend(${pid});`,
      });
      const { code, stdout } = await rowhook(['doctor'], { env: { DATABASE_URL: database.daemonUrl } });
      expect(stdout).toMatch(
        /\n\? transactions +not checked: transactions of \d+ connections? of other roles\n +grant pg_read_all_stats to \S+;\n/,
      );
      expect(stdout).not.toContain('no transaction has been open');
      expect(code).toBe(0);
      await database.query((found as { fix: string }).fix);
      await expect(client.query('select')).rejects.toThrow();
    }));

  test('one that was prepared and forgotten', async () => {
    await connected((client) => client.query("begin; select pg_current_xact_id(); prepare transaction 'rowhook''s'"));
    const prepared = async () =>
      (await findings({ limits: { transactionSeconds: 0 } })).find(({ what }) => what.includes("rowhook's"));
    const found = await prepared();
    expect(found).toMatchObject({
      kind: 'warning',
      fix: expect.stringContaining("rollback prepared 'rowhook''s';"),
    });
    await database.query((found as { fix: string }).fix);
    expect(await prepared()).toBeUndefined();
  });
});

describe('slots', () => {
  // the slot whose turn comes next, as it was eight days ago
  const fill = `insert into rowhook.webhook_outbox (lane, tenant_id, event_types, occurred_at, slot)
    values (5, 't', '{a.b}', now() - interval '7 days 1 hour', (floor(extract(epoch from now()) / 86400)::bigint + 1) % 8)`;

  test('one that a lane has not read, that a transaction locks, that nobody holds', async () => {
    await database.query(fill);
    const pinnedBy = async () => {
      const { what, fix } = (await findingOf('slots')) as { what: string; fix: string };
      return [/ of (\S+ \S+) ago, pinned by (.*)$/.exec(what)?.slice(1), fix];
    };
    expect(await pinnedBy()).toEqual([
      ['7 d', 'lanes 5, which have not read the whole slot (elsewhere:1)'],
      expect.stringMatching(/^rowhook status/),
    ]);
    await database.query(`${ALL_LANES} from_snapshot = pg_current_snapshot()`);
    const locking = 'begin; select from rowhook.webhook_outbox limit 1';
    await connected(async (client) => {
      await client.query(locking);
      const [{ pid } = { pid: 0 }] = (await client.query('select pg_backend_pid() as pid')).rows;
      const [by, fix] = await pinnedBy();
      expect(by?.[1]).toMatch(`the transaction of process ${pid}, `);
      expect(fix).toBe(`select pg_terminate_backend(${pid});`);
      await database.query(String(fix));
      await waitUntil('its lock is gone', async () => !String((await pinnedBy())[0]).includes('process'));
    });
    await connected((client) => client.query(`${locking}; prepare transaction 'pins'`));
    const [by, rollback] = await pinnedBy();
    expect([by, rollback]).toEqual([
      ['7 d', "the prepared transaction 'pins'"],
      "rollback prepared 'pins';   -- or commit prepared",
    ]);
    await database.query(String(rollback));
    const [, fix] = await pinnedBy();
    expect(fix).toBe('select rowhook._recycle_slot();');
    await database.query(String(fix));
    expect(await findings()).toEqual([]);
  });
});

test('clocks that differ', async () => {
  expect(await findingOf('clock', { now: () => Date.now() - 60_000 })).toMatchObject({
    kind: 'warning',
    what: expect.stringMatching(/^the server's clock is (59|60)\.\d s ahead of this machine's$/),
  });
});

test('rows that were written before the watch cost nothing, however late their counts come', async () => {
  await connected(async (client) => {
    await client.query(`
      create table bulky (id int primary key, tenant_id text);
      insert into bulky select n, 'acme' from generate_series(1, 100000) as n;
      select rowhook.watch('bulky', capture => 'all')`);
    await client.query('select pg_stat_force_next_flush()');
  });
  const ofBulky = async () => {
    const results = await connected((client) => captureCost({ client, limits: LIMITS } as Examination));
    return results.find(({ what }) => what.includes(' public.bulky '))?.what;
  };
  expect(await ofBulky()).toBeUndefined();
  await database.query("insert into bulky values (0, 'acme')");
  await waitUntil('it is counted', async () => (await ofBulky())?.includes(': 1 rows or fewer, '));
  await database.query("select rowhook.unwatch('bulky'); drop table bulky; truncate rowhook.webhook_outbox");
});

test('statistics that were reset count from nothing, however high they have become since; ids of the outbox do not', async () => {
  const grown = async (count: string, reset: number) => {
    const [row] = await database.query<{ grown: number }>(
      `select rowhook._grown(jsonb_populate_record(null::rowhook.webhook_sources, $1), $2, $3) as grown`,
      [{ counted_from: { [count]: 100, reset: 1 } }, count, { [count]: 150, reset }],
    );
    return row?.grown;
  };
  expect([await grown('changes', 1), await grown('changes', 2)]).toEqual([50, 150]);
  expect([await grown('active_ms', 1), await grown('active_ms', 2)]).toEqual([50, 150]);
  expect([await grown('outbox_id', 1), await grown('outbox_id', 2)]).toEqual([50, 50]);
});

test('capture that takes a large part of the time, estimated and measured', async () => {
  const limits = { captureShare: 0, captureSeconds: 0 };
  const write = (settings: string) =>
    connected(async (client) => {
      await client.query(settings);
      await client.query(
        "insert into notes (organization_id, body) select '11111111-1111-4111-8111-111111111111', n::text from generate_series(1, 100) as n",
      );
      await client.query('select pg_stat_force_next_flush()');
    });
  await database.query("select rowhook.watch('notes', prefix => 'notes', capture => 'all')");
  const whatOfNotes = async () =>
    (await findings({ limits })).find(({ check, what }) => check === 'capture cost' && what.includes(' public.notes '))
      ?.what;
  await write("set track_functions = 'none'");
  expect(await whatOfNotes()).toMatch(
    /^capture on public\.notes took about \d+\.\d % of all statement time \(estimated: 100 rows or fewer, 100 µs per row\)$/,
  );
  expect((await findings()).filter(({ check }) => check === 'capture cost')).toEqual([]);
  await write("set track_functions = 'pl'");
  expect(await whatOfNotes()).toMatch(
    /^capture on public\.notes took about \d+\.\d % .* \(measured: 200 rows or fewer, \d+\.\d s in 1 calls\)$/,
  );
});

describe.skipIf(!hasPgBouncer)('listen, behind PgBouncer (skipped where it is not installed)', () => {
  test.each(['session', 'transaction'] as const)('in %s mode', async (mode) => {
    const pooler = await startPgBouncer(database.url, mode);
    try {
      const found = (
        await findings({ url: pooler.url, limits: { listenMs: mode === 'session' ? 20_000 : 500 } })
      ).filter(({ check }) => check === 'listen');
      if (mode === 'session') expect(found).toEqual([]);
      else {
        expect(found).toMatchObject([
          { kind: 'error', what: expect.stringMatching(/: a pooler in transaction mode$/) },
        ]);
        const { fix } = found[0] as { fix: string };
        const [, poolMode = '', wake = ''] = /pool_mode = (\w+), or set ROWHOOK_WAKE=(\w+)$/.exec(fix) ?? [];
        const sessions = await startPgBouncer(database.url, poolMode as 'session');
        try {
          const listens = (url: string, more: object) =>
            findings({ url, limits: { listenMs: 20_000 }, ...more }).then((all) =>
              all.filter(({ check }) => check === 'listen'),
            );
          expect(await listens(database.url, {})).toEqual([]);
          expect(await listens(sessions.url, {})).toEqual([]);
          expect(await listens(pooler.url, { wake, limits: { listenMs: 500 } })).toEqual([]);
        } finally {
          await sessions.stop();
        }
      }
    } finally {
      await pooler.stop();
    }
  });
});
