// Row-level security that was switched off, policies that a restore did not bring, and a database that a login may not connect to:
// the doctor, the daemon, the API and `rowhook migrate` report what is wrong, and what mends it.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkDatabase } from '../../src/api/check.ts';
import { startDaemon } from '../../src/daemon/daemon.ts';
import type { NamedResult } from '../../src/doctor/checks.ts';
import { rowhook } from '../support/cli.ts';
import { daemonSettings } from '../support/daemon.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;

beforeEach(async () => {
  database = await createDatabase();
});
afterEach(() => database.drop());

/** The errors of the doctor, for one check. */
async function errorsOf(check: string, url = database.daemonUrl): Promise<NamedResult[]> {
  const { stdout } = await rowhook(['doctor', '--json'], { env: { DATABASE_URL: url } });
  const results: NamedResult[] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return results.filter((result) => result.check === check && result.kind === 'error');
}

test('row-level security that was switched off is reported, and migrate switches it on again', async () => {
  await database.query(`
    set role rowhook_owner;
    alter table rowhook.webhook_configurations no force row level security;
    alter table rowhook.webhook_logs disable row level security`);
  expect(await errorsOf('privileges')).toEqual([
    {
      check: 'privileges',
      kind: 'error',
      what: 'row-level security is off, or not forced, on webhook_configurations, webhook_logs of the schema rowhook',
      why: expect.stringContaining('every tenant'),
      fix: 'rowhook migrate   # as a member of rowhook_owner: it switches row-level security on again',
    },
  ]);
  // The API answers strangers. A daemon goes on to deliver.
  await expect(checkDatabase(database.apiUrl)).rejects.toThrow('Row-level security is off, or not forced, on');
  const daemon = await startDaemon(daemonSettings(database.daemonUrl));
  await daemon.stop();

  const { code, stdout } = await rowhook(['migrate'], { env: { DATABASE_URL: database.url } });
  expect([code, stdout]).toEqual([
    0,
    expect.stringMatching(
      /^switched row-level security on again for 2 tables of the schema rowhook\nDone: the schema rowhook is at/,
    ),
  ]);
  expect(await errorsOf('privileges')).toEqual([]);
  await checkDatabase(database.apiUrl);
  expect(
    await database.query(
      `select relname from pg_class where relnamespace = 'rowhook'::regnamespace and relkind in ('r', 'p')
          and not (relrowsecurity and relforcerowsecurity)`,
    ),
  ).toEqual([{ relname: 'migrations' }]);
});

test('policies that are missing are reported, and no daemon starts', async () => {
  await database.query('drop policy daemon_has_all on rowhook.webhook_incarnations');
  await database.query('drop policy owner_has_all on rowhook.webhook_outbox_0');
  const what = 'policies are missing on webhook_incarnations, webhook_outbox_0 of the schema rowhook';
  expect(await errorsOf('schema')).toMatchObject([{ what, fix: expect.stringContaining('restore the dump again') }]);
  await expect(startDaemon(daemonSettings(database.daemonUrl))).rejects.toThrow(
    'The schema rowhook is not complete: policies are missing on webhook_outbox_0 of the schema rowhook.',
  );
});

test('a restore that ended before row-level security and its policies is reported', async () => {
  await database.query(`
    do $$
    declare
      v_policy record;
    begin
      for v_policy in select polname, polrelid::regclass as relation from pg_policy
                       where polrelid = 'rowhook.webhook_logs'::regclass loop
        execute format('drop policy %I on %s', v_policy.polname, v_policy.relation);
      end loop;
    end
    $$;
    alter table rowhook.webhook_logs disable row level security, no force row level security`);
  expect(await errorsOf('privileges')).toMatchObject([
    { what: expect.stringContaining('not forced, on webhook_logs') },
  ]);
  // From now on nobody sees a row, and the next error says what to do.
  await rowhook(['migrate'], { env: { DATABASE_URL: database.url } });
  expect(await errorsOf('schema')).toMatchObject([
    { what: expect.stringContaining('policies are missing on webhook_logs') },
  ]);
});

test('a member of rowhook_owner whom a policy fails is sent to the doctor', async () => {
  await database.query(`
    create role rls_owner login password 'secret'; grant rowhook_owner to rls_owner;
    drop policy owner_has_all on rowhook.webhook_incarnations`);
  try {
    const url = databaseUrl(database.url, database.name, 'rls_owner', 'secret');
    const { code, stderr } = await rowhook(['adopt', '--environment', 'copy', '--undelivered', 'discard'], {
      env: { DATABASE_URL: url },
    });
    expect([code, stderr]).toEqual([1, expect.stringMatching(/rls_owner is a member of .*Run "rowhook doctor"\.\n$/)]);
  } finally {
    await database.query('drop owned by rls_owner; drop role rls_owner');
  }
});

test('a table of somebody else in the schema is not judged', async () => {
  await database.query(
    'set role rowhook_owner; create table rowhook.mine (id int); grant select on rowhook.mine to rowhook_daemon',
  );
  expect([await errorsOf('schema'), await errorsOf('privileges')]).toEqual([[], []]);
  // A grant of the DBA to tenants shows them no row, and stops nothing.
  await database.query('set role rowhook_owner; grant select on rowhook.webhook_daemons to rowhook_app');
  expect(await errorsOf('schema')).toEqual([]);
  const { stdout } = await rowhook(['migrate'], { env: { DATABASE_URL: database.url } });
  expect(stdout).toMatch(/^Nothing to do/);
});

test('CONNECT that is missing is named, not a role of rowhook', async () => {
  await database.query(`revoke connect on database ${database.name} from public`);
  const refused = await rowhook(['doctor'], { env: { DATABASE_URL: database.daemonUrl } });
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringMatching(
      /permission denied for database ".*"\. Let its owner or a DBA grant the login CONNECT on it\.\n$/,
    ),
  ]);
  expect(refused.stderr).not.toContain('rowhook_owner');
  const { username } = new URL(database.daemonUrl);
  await database.query(`grant connect on database ${database.name} to ${username}`);
  expect(await errorsOf('privileges')).toEqual([]);
});
