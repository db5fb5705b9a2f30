// What libpq makes of odd strings and files: each expectation is what libpq 15 answered.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { passwordOf } from '../../src/connection/files.ts';
import { firstServer, readTarget } from '../../src/connection/target.ts';

test.each([
  ['postgres://h1,h2/app', { PGPORT: '6000' }, ['h1:5432', 'h2:5432']],
  ['postgres://h1,h2:2/app', { PGPORT: '6000' }, ['h1:5432', 'h2:2']],
  ['postgres://h1/app', { PGPORT: '6000' }, ['h1:6000']],
  ['host=h1,h2', { PGPORT: '6000' }, ['h1:6000', 'h2:6000']],
  ['postgres://h1,h2/app?port=9', {}, ['h1:9', 'h2:9']],
  ['postgres://:1,:2/app', {}, ['localhost:1', 'localhost:2']],
  ['postgres:///app', { PGHOST: 'h1,h2', PGPORT: '1,' }, ['h1:1', 'h2:5432']],
  ['postgres://[::1]:7,h2/app', {}, ['::1:7', 'h2:5432']],
])('%s with %j is %j', (text, env, hosts) => {
  expect(readTarget(text, env).hosts.map(({ name, port }) => `${name}:${port}`)).toEqual(hosts);
});

test('brackets without an address are not this machine', () => {
  expect(() => readTarget('postgres://[]/app', {})).toThrow('is not a valid URL');
});

test('an address that is dialled in the place of a socket is asked for TLS', () => {
  const target = readTarget('host=/tmp hostaddr=192.0.2.1 sslmode=require', {});
  expect(firstServer(target)).toMatchObject({ encrypted: true });
});

test('PGREQUIRESSL=1 is sslmode=require, unless something else names a mode', () => {
  const env = { PGREQUIRESSL: '1' };
  expect(readTarget('host=h', env).tls.mode).toBe('require');
  expect(readTarget('host=h', { ...env, PGSSLMODE: 'allow' }).tls.mode).toBe('allow');
  expect(readTarget('host=h sslmode=disable', env).tls.mode).toBe('disable');
});

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'rowhook-pgpass-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

test.each([
  ['::1:5432:*:u:unescaped', { host: '::1' }, 'unescaped'],
  ['\\:\\:1:5432:*:u:escaped', { host: '::1' }, 'escaped'],
  ['h:5432:\\*:u:of a database named *', {}, undefined],
  ['h:5432:\\*:u:of a database named *', { database: '*' }, 'of a database named *'],
  ['*:*:*:*:of everybody', { database: 'a\\b' }, 'of everybody'],
  ['h:5432:a\\\\b:u:x', { database: 'a\\b' }, 'x'],
  ['h:5432:a\\b:u:x', { database: 'a\\b' }, undefined],
  ['h:5432:a.c:u:x', { database: 'abc' }, undefined],
  ['h:5432:app:u:p\\:w\\\\', {}, 'p:w\\'],
  ['h:5432:app:u:p:w', {}, 'p'],
  ['h:5432:app:u:ends in a backslash\\', {}, 'ends in a backslash\\'],
  ['h:05432:app:u:x\n#h:5432:app:u:x\nh:5432:app\n H:5432:app:u:x', {}, undefined],
  ['localhost:5432:app:u:of a socket', { host: '/tmp' }, 'of a socket'],
])('of the password file %j, %j takes %j', (lines, wanted, password) => {
  const path = join(folder, 'pgpass');
  writeFileSync(path, `${lines}\r\n`, { mode: 0o600 });
  expect(passwordOf(path, { host: 'h', port: 5432, database: 'app', user: 'u', ...wanted })).toBe(password);
});
