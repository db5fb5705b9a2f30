// Columns that must not leave. SECRET stands in each excluded column; after every test, no row of the outbox contains it.

import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { sourceProblems } from '../../src/capture/source-problems.ts';
import { excludedColumns } from '../../src/doctor/excluded-columns.ts';
import type { Examination } from '../../src/doctor/finding.ts';
import { rowhook } from '../support/cli.ts';
import { connected } from '../support/connected.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { findDumpTools } from '../support/dump.ts';
import { type Captured, lines, takeChanges } from '../support/outbox.ts';
import { wantedMajor } from '../support/server.ts';

const SECRET = 'hunter2';
const tools = findDumpTools([wantedMajor]);

let database: TestDatabase;
let captured: string[];

beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

beforeEach(async () => {
  captured = [];
  await database.query(`
    select rowhook.unwatch(relation::text) from rowhook.webhook_sources where parent_id is null;
    drop table if exists users, members, other cascade;
    create table users (id int primary key, tenant_id text, email text, ssn text, updated_at int)`);
});

afterEach(async () => {
  await take();
  expect(captured.join('\n')).not.toContain(SECRET);
});

/** What was captured, each change as a line. */
async function take(): Promise<string[]> {
  const changes: Captured[] = await takeChanges(database);
  captured.push(...changes.map((change) => JSON.stringify(change)));
  return lines(changes);
}

const watch = (settings = "exclude_columns => '{ssn}'", table = 'users') =>
  database.query(`select rowhook.watch('${table}', capture => 'all'${settings && `, ${settings}`})`);
const insert = (id = 1, table = 'users') =>
  database.query(`insert into ${table} (id, tenant_id, email, ssn) values (${id}, 'acme', 'a@b.c', '${SECRET}')`);
const reconcile = () => database.query<{ relation: string; change: string }>('select * from rowhook.reconcile()');
const excluded = async (table = 'users') =>
  (
    await database.query<{ columns: string[] }>(
      `select exclude_columns as columns from rowhook.webhook_sources where relation = '${table}'::regclass`,
    )
  )[0]?.columns;

/** The warnings and notices of a statement, each with its hint. */
async function notices(sql: string): Promise<string[]> {
  return await connected(database.url, async (client) => {
    const found: string[] = [];
    client.on('notice', ({ message, hint }) => found.push(`${message} | ${hint}`));
    await client.query(sql);
    return found;
  });
}

describe('an excluded column', () => {
  beforeEach(() => watch());

  test('is in no event of an INSERT, UPDATE or DELETE', async () => {
    await insert();
    await database.query(`update users set email = 'd@e.f', ssn = '${SECRET}!'`);
    await database.query('delete from users');
    expect(await take()).toEqual([
      'users.created {"id":1,"tenant_id":"acme","email":"a@b.c","updated_at":null}',
      'users.updated {"id":1,"tenant_id":"acme","email":"d@e.f","updated_at":null} was {"email":"a@b.c"}',
      'users.deleted {"id":1,"tenant_id":"acme","email":"d@e.f","updated_at":null}',
    ]);
  });

  test('is no event when an UPDATE changes it alone, or it and ignored columns', async () => {
    await insert();
    await take();
    await database.query(`update users set ssn = '${SECRET}!'; update users set ssn = null, updated_at = 1`);
    expect(await take()).toEqual([]);
  });

  test('stays excluded when an UPDATE changes no ignored column either', async () => {
    await watch("exclude_columns => '{ssn}', ignore_columns => '{}'");
    await insert();
    await database.query(`update users set ssn = '${SECRET}!'; update users set updated_at = 1`);
    expect((await take()).at(-1)).toBe(
      'users.updated {"id":1,"tenant_id":"acme","email":"a@b.c","updated_at":1} was {"updated_at":null}',
    );
  });

  test.each([
    ['a rename', 'alter table users rename ssn to note'],
    ['a name that changes places', 'alter table users rename email to x; alter table users rename ssn to email'],
    [
      'the name of a dropped column',
      'alter table users drop email; alter table users rename ssn to email; alter table users add ssn text',
    ],
    ['a rename of the table', 'alter table users rename ssn to note; alter table users rename to members'],
    ['another type', 'alter table users alter ssn type varchar(99)'],
    [
      'another type and name',
      `alter table users alter ssn type json using to_json(ssn); alter table users rename ssn to n`,
    ],
    ['a new column of its name', `alter table users drop ssn; alter table users add ssn text default '${SECRET}'`],
    ['a domain', 'create domain if_any as text; alter table users alter ssn type if_any; drop domain if_any cascade'],
    ['part of the key', 'alter table users drop constraint users_pkey, add primary key (id, ssn)'],
    ['the key', 'alter table users drop constraint users_pkey, add primary key (ssn)'],
    ['the tenant', 'alter table users drop tenant_id; alter table users rename ssn to tenant_id'],
    ['copied by a generated column', 'alter table users add copy text generated always as (ssn) stored'],
  ])('is let out by no change of the table: %s', async (_, sql) => {
    await insert();
    await database.query(sql.replace('create domain if_any', 'drop domain if exists if_any; create domain if_any'));
    const table = sql.endsWith('members') ? 'members' : 'users';
    for (const step of ['before', 'after'] as const) {
      if (step === 'after') await reconcile();
      await database.query(`update ${table} set updated_at = 1`);
      await database.query(`delete from ${table} where id = 2`);
      const columns = await database.query<{ name: string; secret: boolean }>(
        `select quote_ident(attname) as name, attnum = 4 or attname = 'ssn' as secret from pg_attribute
          where attrelid = '${table}'::regclass and attnum > 0 and not attisdropped and attgenerated = '' and attname <> 'id'`,
      );
      const values = columns.map(({ name, secret }) => {
        if (secret) return `'"${SECRET}"'`;
        return name === 'updated_at' ? 7 : "'acme'";
      });
      await database.query(`insert into ${table} (id, ${columns.map(({ name }) => name)}) values (2, ${values})`);
      await database.query(`update ${table} set updated_at = 3 where id = 2; delete from ${table} where id = 2`);
    }
    await take();
    expect(captured.join('\n')).not.toContain(SECRET);
    if (!sql.includes('tenant_id')) expect(captured.length).toBeGreaterThan(0);
  });

  test('is followed by its number, and its earlier names stay excluded', async () => {
    await database.query('alter table users rename ssn to note');
    expect(await reconcile()).toContainEqual({
      relation: 'public.users',
      change: 'column note stays excluded under this name',
    });
    expect(await excluded()).toEqual(['note', 'ssn']);
    await database.query(`alter table users add ssn text default '${SECRET}'`);
    await reconcile();
    await database.query("insert into users (id, tenant_id, email) values (1, 'acme', 'a')");
    expect(await take()).toEqual(['users.created {"id":1,"tenant_id":"acme","email":"a","updated_at":null}']);
  });

  test('stays excluded when the table is watched again, also after a rename', async () => {
    await database.query('alter table users rename ssn to note');
    await watch('');
    await database.query(`insert into users values (1, 'acme', 'a', '${SECRET}')`);
    expect(await take()).toEqual(['users.created {"id":1,"tenant_id":"acme","email":"a","updated_at":null}']);
    await watch("include_columns => '{note}'");
    await database.query("update users set note = 'known'; update users set note = 'sent'");
    expect((await takeChanges(database)).at(-1)?.data).toContain('"note":"sent"');
    await watch("exclude_columns => '{}'");
    expect(await excluded()).toEqual([]);
  });

  test('lets a new column wait for reconcile()', async () => {
    await insert();
    await database.query("alter table users add city text; update users set city = 'Rome', email = 'x'");
    await reconcile();
    await database.query("update users set city = 'Bonn'");
    expect((await take()).slice(1)).toEqual([
      'users.updated {"id":1,"tenant_id":"acme","email":"x","updated_at":null} was {"email":"a@b.c"}',
      'users.updated {"id":1,"tenant_id":"acme","email":"x","updated_at":null,"city":"Bonn"} was {"city":"Rome"}',
    ]);
  });

  test('stays excluded in a table that takes the place of the watched one', async () => {
    await database.query(`
      alter table users rename to members;
      create table users (id int primary key, tenant_id text, ssn text, email text)`);
    await reconcile();
    await insert();
    expect(await take()).toEqual(['users.created {"id":1,"tenant_id":"acme","email":"a@b.c"}']);
  });

  test('is neither printed nor named where a row is too large, or cannot be printed', async () => {
    await watch("exclude_columns => '{ssn}', max_payload_bytes => 1024");
    await database.query(`insert into users values (1, 'acme', repeat('x', 2000), '${SECRET}')`);
    await database.query(`
      create type broken as enum ('${SECRET}');
      create function fails(broken) returns json language plpgsql immutable as $$
        begin raise exception 'no: %', $1::text; end $$;
      create cast (broken as json) with function fails(broken);
      alter table users alter ssn type broken using '${SECRET}'::broken;
      insert into users values (2, 'acme', 'b', '${SECRET}')`);
    await reconcile();
    await database.query("update users set email = 'c' where id = 2");
    expect(await take()).toEqual([
      'users.created {"id" : 1}',
      'users.created {"id":2,"tenant_id":"acme","email":"b","updated_at":null}',
      'users.updated {"id":2,"tenant_id":"acme","email":"c","updated_at":null} was {"email":"b"}',
    ]);
    await database.query('alter table users alter ssn type text; drop type broken cascade');
  });
});

describe('tables of other shapes', () => {
  test('without a key, with the excluded column alone, and with 1,000 columns', async () => {
    const many = Array.from({ length: 1000 }, (_, n) => `v${n} int`).join(', ');
    await database.query(`
      create table other (note text);
      create table members (id int primary key, ssn text, ${many});
      select rowhook.watch('other', capture => 'all', tenant_id => 'acme', exclude_columns => '{note}');
      select rowhook.watch('members', capture => 'all', tenant_id => 'acme', exclude_columns => '{ssn}');
      insert into other values ('${SECRET}');
      update other set note = '${SECRET}!';
      insert into members (id, ssn) values (1, '${SECRET}');
      update members set ssn = '${SECRET}!';
      update members set v7 = 8, ssn = '${SECRET}'`);
    const found = await take();
    expect(found.map((line) => line.split(' ')[0])).toEqual(['other.created', 'members.created', 'members.updated']);
    expect(found[0]).toBe('other.created {}');
    expect(found[2]).toMatch(/ was [{]"v7":null[}]$/);
  });

  test('partitions, which have the columns in another order, and a detached one', async () => {
    await database.query(`
      create table members (id int, tenant_id text, email text, ssn text, primary key (id)) partition by list (id);
      create table members_1 (ssn text, gone int, email text, tenant_id text, id int not null);
      alter table members_1 drop gone;
      alter table members attach partition members_1 for values in (1, 2, 3)`);
    await watch("exclude_columns => '{ssn}'", 'members');
    await insert(1, 'members');
    await insert(2, 'members_1');
    expect(await take()).toEqual([
      'members.created {"id":1,"tenant_id":"acme","email":"a@b.c"}',
      'members.created {"id":2,"tenant_id":"acme","email":"a@b.c"}',
    ]);
    await database.query(`
      alter table members detach partition members_1;
      alter table members_1 drop email;
      alter table members_1 rename ssn to email;
      insert into members_1 values ('${SECRET}', 'acme', 3)`);
    expect(await take()).toEqual([]);
    await database.query('drop table members_1');
  });

  test('a table that inherits excludes what its parent excludes', async () => {
    await watch();
    await database.query('create table members (extra int) inherits (users)');
    await reconcile();
    await insert(1, 'members');
    expect(await excluded('members')).toEqual(['ssn']);
    expect(await take()).toEqual([
      'users.created {"id":1,"tenant_id":"acme","email":"a@b.c","updated_at":null,"extra":null}',
    ]);
  });

  test('a generated column is excluded with the column that it is computed from', async () => {
    await database.query(`
      create table other (id int primary key, tenant_id text, ssn text, copy text generated always as (upper(ssn)) stored)`);
    expect(await notices("select rowhook.watch('other', capture => 'all', exclude_columns => '{ssn}')")).toEqual([
      expect.stringMatching(/^public.other: not sent, because they look like credentials: copy/),
    ]);
    await database.query(`insert into other values (1, 'acme', '${SECRET}')`);
    expect(await take()).toEqual(['other.created {"id":1,"tenant_id":"acme"}']);
  });
});

describe('names of credentials', () => {
  test.each([
    ['text', true, 'password,passwd,password_hash,passwordHash,encrypted_password,userpassword,secret,client_secret'],
    [
      'text',
      true,
      'clientSecret,secrets,token,reset_token,accessToken,refreshtoken,tokens,api_key,apiKey,APIKey,apikey',
    ],
    [
      'text',
      true,
      'api_key_hash,private_key,privateKeyPem,secret_access_key,salt,password_salt,otp,otp_secret,totp,pwd',
    ],
    ['text', true, 'passphrase,credentials,jwt,pin,pin_hash,pass_hash,recovery_codes,cvv,Token2,signing_key'],
    ['text', false, 'email,name,secretary,basalt,saltwater,tokenizer,public_key,key,boarding_pass,pin_code,adopted'],
    ['text', false, 'token_type,api_key_id,access_key_id,password_policy,secret_version,laptop,compass'],
    ['int', true, 'otp,pin,token,passcode'],
    ['int', false, 'token_count,tokens_used,max_tokens,prompt_tokens'],
    ['boolean', false, 'otp_enabled,is_secret,password'],
    ['timestamptz', false, 'password_changed_at,token_expires,secret'],
  ])('%s: %s for %s', async (type, expected, names) => {
    const found = await database.query<{ name: string; is: boolean }>(
      `select name, rowhook._is_credential(name, $1::regtype) as is from unnest($2::text[]) as name`,
      [type, names.split(',')],
    );
    expect(found.filter(({ is }) => is !== expected)).toEqual([]);
  });

  test('watch() excludes them and says so, unless include_columns names them', async () => {
    await database.query('alter table users add password_hash text, add api_token text');
    expect(await notices("select rowhook.watch('users', capture => 'all')")).toEqual([
      'public.users: not sent, because they look like credentials: password_hash, api_token | ' +
        "To send such a column, name it: include_columns => '{password_hash}', or --include password_hash",
    ]);
    await database.query(
      `insert into users (id, tenant_id, password_hash, api_token) values (1, 'acme', '${SECRET}', 'x')`,
    );
    expect(await take()).toEqual([
      'users.created {"id":1,"tenant_id":"acme","email":null,"ssn":null,"updated_at":null}',
    ]);
    expect(await notices("select rowhook.watch('users', include_columns => '{api_token}', capture => 'all')")).toEqual([
      expect.stringContaining('credentials: password_hash |'),
    ]);
    await watch('');
    await database.query("update users set api_token = 'y'");
    expect((await take()).at(-1)).toMatch(/ was [{]"api_token":"x"[}]$/);
  });

  test('a column that another list leaves out is reported, one that include_columns names is not', async () => {
    await watch();
    expect(await notices("select rowhook.watch('users', exclude_columns => '{email}', capture => 'all')")).toEqual([
      'watch: ssn is no longer excluded: events of public.users contain it from now on | ' +
        "exclude_columns replaces the list. To exclude all: exclude_columns => '{ssn,email}', or --exclude ssn,email",
    ]);
    expect(await notices("select rowhook.watch('users', exclude_columns => '{ssn,email}', capture => 'all')")).toEqual(
      [],
    );
    expect(await notices("select rowhook.watch('users', include_columns => '{ssn}', capture => 'all')")).toEqual([]);
    expect(await excluded()).toEqual(['email']);
    expect(await notices("select rowhook.watch('users', exclude_columns => '{}', capture => 'all')")).toEqual([
      expect.stringMatching(/^watch: email is no longer excluded/),
    ]);
  });

  test('of new columns are excluded at once, on any source, and reconcile() says so', async () => {
    await watch('');
    await database.query(`alter table users add otp text default '${SECRET}', add city text default 'Rome'`);
    await insert();
    expect(await take()).toEqual([
      `users.created {"id":1,"tenant_id":"acme","email":"a@b.c","ssn":"${SECRET}","updated_at":null,"city":"Rome"}`,
    ]);
    captured = [];
    await database.query("update users set ssn = 'known'");
    await takeChanges(database);
    expect(await reconcile()).toContainEqual({
      relation: 'public.users',
      change: expect.stringMatching(/^column otp is new and excluded: .* include_columns => '[{]otp[}]'$/),
    });
    await database.query(`update users set city = 'Bonn', otp = '${SECRET}!'`);
    expect(await take()).toEqual([
      'users.updated {"id":1,"tenant_id":"acme","email":"a@b.c","ssn":"known","updated_at":null,"city":"Bonn"} was {"city":"Rome"}',
    ]);
  });

  test('of a key or a tenant are reported, since every event contains them', async () => {
    await database.query('create table other (session_token text primary key, tenant_id text)');
    expect(await notices("select rowhook.watch('other')")).toEqual([
      'watch: column session_token of public.other looks like a credential, and every event contains it: the key and the ' +
        "tenant cannot be excluded | If it is not a credential, say so: include_columns => '{session_token}'",
    ]);
    expect(await notices("select rowhook.watch('other', include_columns => '{session_token}')")).toEqual([]);
  });
});

test('a source without exclusions has the same function as before it had some', async () => {
  const written = async () =>
    (
      await database.query<{ body: string }>(
        `select p.prosrc as body from pg_proc p join rowhook.webhook_sources s
             on p.oid = to_regproc('rowhook._capture_' || s.id) where s.relation = 'users'::regclass`,
      )
    )[0]?.body;
  await watch('');
  const before = await written();
  await watch();
  expect(await written()).not.toBe(before);
  await watch("exclude_columns => '{}'");
  expect(await written()).toBe(before);
});

test('the CLI excludes and includes columns, and sources and the doctor list them', async () => {
  await database.query('alter table users add password_hash text, add token text');
  const env = { DATABASE_URL: database.url };
  const watched = await rowhook(['watch', 'users', '--exclude', 'ssn', '--include', 'token'], { env });
  expect(watched.stdout).toContain('not sent, because they look like credentials: password_hash');
  expect((await rowhook(['sources'], { env })).stdout).toMatch(/ssn password_hash/);
  const { stdout } = await rowhook(['sources', '--json'], { env });
  expect(JSON.parse(stdout)).toMatchObject({ excluded: ['ssn', 'password_hash'] });
  const found = await connected(database.url, (client) => excludedColumns({ client } as unknown as Examination));
  expect(found).toEqual([{ kind: 'fine', what: 'excluded columns: public.users (ssn, password_hash)' }]);
});

describe('the doctor lists, as reconcile() does, the tenant or a key that is excluded later', () => {
  test.each([
    [
      'the tenant',
      'alter table users drop tenant_id; alter table users rename ssn to tenant_id',
      'nothing is captured: column tenant_id holds the tenant and is excluded',
      'error public.users: the column tenant_id names the tenant, and is excluded',
    ],
    [
      'a key',
      'alter table users drop constraint users_pkey; alter table users add primary key (id, ssn)',
      'its events do not name their row: the primary key contains ssn, which is excluded',
      'warning public.users: the primary key contains ssn, which is excluded',
    ],
  ])('%s', async (_, change, complaint, what) => {
    await watch();
    await database.query(change);
    const reported = await reconcile();
    expect(reported.map(({ change: text }) => text).join('\n')).toContain(complaint);
    const found = () => connected(database.url, sourceProblems);
    const [problem, ...others] = await found();
    expect([`${problem?.kind} ${problem?.what}`, others]).toEqual([what, []]);
    await database.query(problem?.fix as string);
    expect(await found()).toEqual([]);
    expect((await reconcile()).map(({ change: text }) => text)).not.toContainEqual(expect.stringContaining(complaint));
  });
});

test('the doctor warns of a key that looks like a credential, and its statement ends that', async () => {
  await database.query("create table other (token text primary key, tenant_id text); select rowhook.watch('other')");
  const results = () =>
    connected(database.url, (client) => excludedColumns({ client } as unknown as Examination)) as Promise<
      { what: string; fix?: string }[]
    >;
  const found = await results();
  expect(found[1]?.what).toBe('public.other: token looks like a credential, and every event contains it');
  await database.query(found[1]?.fix as string);
  expect(await results()).toHaveLength(1);
});

// A restored table has no dropped columns, so the numbers of the others change.
test.skipIf(tools === undefined)('pg_dump and pg_restore keep what is excluded', async ({ onTestFinished }) => {
  const file = join(tmpdir(), `${database.name}.dump`);
  const copy = await createDatabase({ bare: true });
  onTestFinished(async () => {
    await copy.drop();
    await rm(file, { force: true });
  });
  await database.query('alter table users drop email');
  await watch();
  await tools?.dump(database.url, file);
  await tools?.restore(copy.url, file);
  const insertCopy = async (id: number, column: string) => {
    await copy.query(`insert into users (id, tenant_id, ${column}, updated_at) values (${id}, 'acme', '${SECRET}', 5)`);
    return lines(await takeChanges(copy));
  };
  expect(await insertCopy(1, 'ssn')).toEqual(['users.created {"id":1,"tenant_id":"acme","updated_at":5}']);
  await copy.query('select rowhook.reconcile()');
  await copy.query('alter table users rename ssn to note');
  expect(await insertCopy(2, 'note')).toEqual(['users.created {"id":2,"tenant_id":"acme","updated_at":5}']);
  await copy.query('select rowhook.reconcile()');
  expect(await insertCopy(3, 'note')).toEqual(['users.created {"id":3,"tenant_id":"acme","updated_at":5}']);
});
