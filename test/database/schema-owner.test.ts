// A dump that is restored by a role that is not a member of rowhook_owner, as the administrator of a managed service is, or with
// --no-owner. The objects of rowhook then belong to that role.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startDaemon } from '../../src/daemon/daemon.ts';
import type { NamedResult } from '../../src/doctor/checks.ts';
import { rowhook } from '../support/cli.ts';
import { daemonSettings } from '../support/daemon.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { wantedMajor } from '../support/server.ts';
import { canDump, runTool } from '../support/tool.ts';

const WATCHED = `
  create table app (id int primary key, tenant_id text); select rowhook.watch('app');
  insert into rowhook.webhook_configurations (tenant_id, name, url, event_types)
  values ('acme', 'w', 'https://example.com/', '{*}')`;
const OWNERS = `
  select distinct pg_get_userbyid(owner) as owner
    from (select nspowner from pg_namespace where nspname = 'rowhook'
          union all select relowner from pg_class where relnamespace = 'rowhook'::regnamespace
          union all select typowner from pg_type where typnamespace = 'rowhook'::regnamespace
          union all select proowner from pg_proc where pronamespace = 'rowhook'::regnamespace) as o (owner)`;

const GRANTS = `
  select name, grantor::regrole, grantee::regrole, privilege_type
    from (select oid::regnamespace::text, coalesce(nspacl, acldefault('n', nspowner)) from pg_namespace where nspname = 'rowhook'
          union all select oid::regclass::text, coalesce(relacl, acldefault('r', relowner))
                      from pg_class where relnamespace = 'rowhook'::regnamespace and relkind in ('r', 'p', 'v')
          union all select oid::regclass::text, coalesce(relacl, acldefault('s', relowner))
                      from pg_class where relnamespace = 'rowhook'::regnamespace and relkind = 'S'
          union all select attrelid::regclass || '.' || attname, attacl
                      from pg_attribute join pg_class c on c.oid = attrelid where relnamespace = 'rowhook'::regnamespace
          union all select oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner))
                      from pg_proc where pronamespace = 'rowhook'::regnamespace) as o (name, acl)
   cross join lateral aclexplode(acl)
   order by 1, 2, 3, 4`;

let copy: TestDatabase;
let restorer: string;
/** The copy, as the restorer. */
let url: string;

async function open(bare: boolean): Promise<void> {
  copy = await createDatabase({ bare });
  restorer = `restorer_${copy.name}`;
  await copy.query(`create role ${restorer} login password 'secret'; alter database ${copy.name} owner to ${restorer}`);
  url = databaseUrl(copy.url, copy.name, restorer, 'secret');
}

afterEach(async () => {
  const { name } = copy;
  await copy.drop();
  const other = await createDatabase({ bare: true });
  await other.query(`drop role restorer_${name}`);
  await other.drop();
});

const owners = async () => (await copy.query<{ owner: string }>(OWNERS)).map(({ owner }) => owner);

async function eventsOf(id: number): Promise<number> {
  await copy.query(`insert into app values (${id}, 'acme')`);
  return (await copy.query('select from rowhook.webhook_outbox where row_key = $1', [String(id)])).length;
}

async function errorsOf(login: string): Promise<NamedResult[]> {
  const { stdout } = await rowhook(['doctor', '--json'], { env: { DATABASE_URL: login } });
  const results: NamedResult[] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return results.filter(({ kind, check }) => kind === 'error' && check === 'schema');
}

/** From the state in which changes make no event to that in which they do. */
async function mends(): Promise<void> {
  expect(await eventsOf(1)).toBe(0);
  const found = await errorsOf(copy.daemonUrl);
  expect(found).toEqual([
    {
      check: 'schema',
      kind: 'error',
      what: `objects of the schema rowhook belong to ${restorer} instead of rowhook_owner`,
      why: expect.stringContaining('make no event'),
      fix: `grant rowhook_owner to ${restorer};   -- then, as ${restorer} or a superuser: rowhook migrate`,
    },
  ]);
  const sentence = `Objects of the schema rowhook belong to ${restorer} instead of rowhook_owner.`;
  await expect(startDaemon(daemonSettings(copy.daemonUrl))).rejects.toThrow(sentence);
  const refused = await rowhook(['migrate'], { env: { DATABASE_URL: url } });
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining(sentence)]);

  await copy.query(found[0] && 'fix' in found[0] ? found[0].fix : '');
  const { code, stdout, stderr } = await rowhook(['migrate'], { env: { DATABASE_URL: url } });
  expect([code, stderr, stdout]).toEqual([
    0,
    '',
    expect.stringMatching(/^gave \d{3} objects .* back to rowhook_owner\nDone:/),
  ]);
  expect(await owners()).toEqual(['rowhook_owner']);
  expect(await errorsOf(copy.daemonUrl)).toEqual([]);
  expect(await eventsOf(2)).toBe(1);
}

test('what the doctor says gives it back', async () => {
  await open(false);
  await copy.query(`${WATCHED}; reassign owned by rowhook_owner to ${restorer}`);
  await mends();
});

test('a schema of another program with this name is not touched', async () => {
  await open(true);
  await copy.query(`create schema rowhook authorization ${restorer}`);
  const { code, stderr } = await rowhook(['migrate'], { env: { DATABASE_URL: copy.url } });
  expect([code, stderr]).toEqual([1, expect.stringContaining('schema "rowhook" already exists')]);
  expect(await owners()).toEqual([restorer]);
});

describe.skipIf(!canDump(wantedMajor))('pg_restore', () => {
  let source: TestDatabase;
  let folder: string;
  let file: string;

  beforeEach(async () => {
    await open(true);
    source = await createDatabase();
    await source.query(WATCHED);
    folder = mkdtempSync(join(tmpdir(), 'rowhook-dump-'));
    file = join(folder, 'app.dump');
    expect(await runTool('pg_dump', ['-Fc', `--file=${file}`, source.url])).toMatchObject({ code: 0 });
  });

  afterEach(async () => {
    rmSync(folder, { recursive: true });
    await source.drop();
  });

  const restore = (...options: string[]) => runTool('pg_restore', [...options, `--dbname=${url}`, file]);
  const grantsOf = (of: TestDatabase) => of.query(GRANTS);

  test.each([
    [[], 1],
    [['--no-owner'], 0],
  ])('%s leaves everything to another role, and then all is as it was', async (options, code) => {
    expect((await restore(...options)).code).toBe(code);
    expect(await owners()).toEqual([restorer]);
    await mends();
    expect(await grantsOf(copy)).toEqual(await grantsOf(source));
  });

  test('by a member of rowhook_owner leaves everything to rowhook_owner', async () => {
    await copy.query(`grant rowhook_owner to ${restorer}`);
    await restore();
    expect(await owners()).toEqual(['rowhook_owner']);
    expect(await eventsOf(1)).toBe(1);
  });
});
