// Connection strings, as libpq has them, on servers that speak TLS, listen on a socket, are primary or read-only.

import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { targetOf } from '../../src/connection/reach.ts';
import { readTarget } from '../../src/connection/target.ts';
import { connect, endpointsOf, openPool } from '../../src/database/connections.ts';
import { type Embedded, startEmbedded } from '../../src/demo/postgres.ts';
import { handOver, serverAccount } from '../../src/demo/postgres-binaries.ts';
import { selfSigned } from '../support/certificate.ts';
import { rowhookProcess } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { freePort } from '../support/port.ts';
import { wantedMajor } from '../support/server.ts';

let folder: string;
let server: Embedded;
let password: string;
/** On another server, where every session is read-only. */
let other: TestDatabase;
let otherUrl: URL;
const file = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rowhook-connection-'));
  await chmod(folder, 0o755);
  const [own, client, stranger] = [
    selfSigned(['localhost', '127.0.0.1']),
    selfSigned(['with_cert']),
    selfSigned(['x']),
  ];
  await mkdir(file('server'));
  await writeFile(file('server/key'), own.key, { mode: 0o600 });
  for (const name of ['ca.pem', 'server/cert']) await writeFile(file(name), own.cert);
  for (const name of ['client.pem', 'server/ca']) await writeFile(file(name), client.cert);
  await writeFile(file('client.key'), client.key, { mode: 0o600 });
  await writeFile(file('stranger.pem'), stranger.cert);
  await writeFile(file('stranger.key'), stranger.key, { mode: 0o600 });
  await handOver(file('server'), await serverAccount());
  server = await startEmbedded({
    major: wantedMajor,
    settings: {
      fsync: 'off',
      ssl: 'on',
      ssl_cert_file: file('server/cert'),
      ssl_key_file: file('server/key'),
      ssl_ca_file: file('server/ca'),
      unix_socket_directories: file('server'),
    },
  });
  password = new URL(server.url).password;
  const admin = await connect(server.url, 'test');
  for (const role of ['only_tls', 'only_plain', 'with_cert'])
    await admin.query(`create role ${role} login password 'p:w\\w'`);
  await writeFile(
    join(server.dataDir, 'pg_hba.conf'),
    `hostssl   all only_tls   all scram-sha-256
     hostnossl all only_plain all scram-sha-256
     hostssl   all with_cert  all cert
     host      all postgres   all scram-sha-256
     local     all all            scram-sha-256
    `,
  );
  await admin.query('select pg_reload_conf()');
  await admin.end();
  other = await createDatabase({ bare: true });
  otherUrl = new URL(other.url);
  await other.query(`alter database ${other.name} set default_transaction_read_only = on`);
});

afterAll(async () => {
  await other.drop();
  await server.stop('immediate');
  await rm(folder, { recursive: true });
});

interface Seen {
  tls: boolean;
  database: string;
  user: string;
  port: number | null;
  application: string;
}

/** Where a connection string leads, or the sentence that says why it leads nowhere. */
async function seen(text: string): Promise<Seen | string> {
  let client: pg.Client;
  try {
    client = await connect(text, 'test');
  } catch (error) {
    return (error as Error).message;
  }
  const { rows } = await client.query(
    `select s.ssl as tls, current_database() as database, current_user as user, inet_server_port() as port,
            current_setting('application_name') as application
       from pg_stat_ssl s where s.pid = pg_backend_pid()`,
  );
  await client.end();
  return rows[0];
}

const at = (rest: string, user = 'postgres') => {
  const word = user === 'postgres' ? password : "'p:w\\\\w'";
  return `host=127.0.0.1 port=${server.port} user=${user} password=${word} dbname=postgres ${rest}`;
};

describe('sslmode', () => {
  test.each([
    ['', true],
    ['sslmode=disable', false],
    ['sslmode=allow', false],
    ['sslmode=prefer', true],
    ['sslmode=require', true],
    ['sslmode=no-verify', true],
    ['sslmode=verify-ca sslrootcert=FOLDER/ca.pem', true],
    ['sslmode=verify-full sslrootcert=FOLDER/ca.pem', true],
    ['sslmode=verify-full sslrootcert=FOLDER/ca.pem host=localhost hostaddr=127.0.0.1', true],
    ['sslmode=verify-ca sslrootcert=FOLDER/ca.pem host=db.invalid hostaddr=127.0.0.1', true],
    ['sslmode=require channel_binding=require ssl_min_protocol_version=TLSv1.2', true],
    // as libpq: who has a CA verifies, and prefer goes on without
    ['sslmode=prefer sslrootcert=FOLDER/stranger.pem', false],
  ])('%j', async (parameters, tls) => {
    expect(await seen(at(parameters.replaceAll('FOLDER', folder)))).toMatchObject({ tls });
  });

  test.each([
    ['sslmode=require sslrootcert=FOLDER/stranger.pem', /has a certificate that is not trusted/],
    ['sslrootcert=system', /has a certificate that is not trusted/],
    [
      'sslmode=verify-full sslrootcert=FOLDER/ca.pem host=db.invalid hostaddr=127.0.0.1',
      /has a certificate for another name/,
    ],
    [
      'sslmode=verify-full sslrootcert=FOLDER/ca.pem host=192.0.2.1 hostaddr=127.0.0.1',
      /has a certificate for another name/,
    ],
    ['sslmode=verify-full sslrootcert=FOLDER/none.pem', /names a file or socket that does not exist/],
    ['sslmode=verify-full sslrootcert=FOLDER', /names a directory where a file is needed/],
    [
      'sslmode=require ssl_max_protocol_version=TLSv1.1',
      /no TLS version that is allowed here .*ssl_max_protocol_version/,
    ],
    // its key is another one's; it is not one; nobody at the server knows it
    [
      'sslmode=require sslcert=FOLDER/ca.pem sslkey=FOLDER/client.key',
      /for TLS cannot be used .*sslkey is the key of sslcert/,
    ],
    ['sslmode=require sslcert=FOLDER/client.pem sslkey=FOLDER/ca.pem', /for TLS cannot be used .*are PEM files/],
    [
      'sslmode=require sslcert=FOLDER/stranger.pem sslkey=FOLDER/stranger.key',
      /refused the TLS connection \([^)]+ca\)\. Check sslcert and sslkey\.$/,
    ],
    ['sslmode=disable channel_binding=require', /channel binding/],
  ])('%j is refused', async (parameters, sentence) => {
    expect(await seen(at(parameters.replaceAll('FOLDER', folder)))).toMatch(sentence);
  });

  test('channel_binding=require gives nothing to a server that speaks no TLS and offers binding', async () => {
    let answered = false;
    const liar = createServer((socket) => {
      let isOffered = false;
      socket.on('error', () => {});
      socket.on('data', (bytes) => {
        if (bytes.readInt32BE(4) === 80_877_103) return void socket.write('N');
        answered ||= isOffered;
        const mechanisms = Buffer.from('\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0', 'latin1');
        const length = Buffer.alloc(4);
        length.writeInt32BE(mechanisms.length + 4);
        socket.write(Buffer.concat([Buffer.from('R'), length, mechanisms]));
        isOffered = true;
      });
    });
    await new Promise<void>((listening) => liar.listen(0, '127.0.0.1', listening));
    try {
      const { port } = liar.address() as AddressInfo;
      const error = await seen(`postgres://u:x@127.0.0.1:${port}/d?channel_binding=require`);
      expect(error).toMatch(/does not offer channel binding/);
      expect(answered).toBe(false);
    } finally {
      liar.close();
    }
  });

  test('allow and prefer find the way that pg_hba.conf leaves open, and a pool keeps to it', async () => {
    expect(await seen(at('sslmode=allow', 'only_tls'))).toMatchObject({ tls: true });
    expect(await seen(at('', 'only_plain'))).toMatchObject({ tls: false });
    expect(await seen(at('sslmode=disable', 'only_tls'))).toMatch(/refused the login .*no encryption/);
    const pool = openPool(at('sslmode=allow', 'only_tls'), { applicationName: 'pool', max: 2, sessions: 'session' });
    const { rows } = await pool.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()');
    await pool.end();
    expect(rows).toEqual([{ ssl: true }]);
  });

  test.each<[refused: string, remedy: RegExp, user?: string]>([
    ['sslmode=disable', /\?(sslmode=\w+)\.$/, 'only_tls'],
    ['sslmode=verify-full sslrootcert=FOLDER/ca.pem host=db.invalid hostaddr=127.0.0.1', /or write (sslmode=\S+)\.$/],
    ['sslmode=verify-full', /Add (sslrootcert=\S+) to DATABASE_URL\.$/],
    ['sslmode=disable channel_binding=require', /Write (channel_binding=\w+), or/],
  ])('what an error says to write leads there: %j', async (parameters, remedy, user) => {
    const refused = at(parameters.replaceAll('FOLDER', folder), user);
    const [, written = ''] = remedy.exec(String(await seen(refused))) ?? [];
    expect(written).not.toBe('');
    const there = written.replace('/path/to', folder);
    expect(await seen(`${refused} ${there}`)).toMatchObject({ database: 'postgres' });
  });

  test('what an error says to write leads there: no password, and no TLS', async () => {
    const open = `host=127.0.0.1 port=${server.port} user=postgres dbname=postgres`;
    const { stderr } = await rowhookProcess(['sources'], { env: { HOME: folder, DATABASE_URL: open } });
    const [, variable = ''] = /or set (\w+)\.$/m.exec(stderr) ?? [];
    const given = await rowhookProcess(['sources'], {
      env: { HOME: folder, DATABASE_URL: open, [variable]: password },
    });
    expect(given.stderr).toContain('has no rowhook schema');

    const plain = new URL(otherUrl);
    plain.search = '?sslmode=require';
    const [, written = ''] = /Write (sslmode=\w+) in DATABASE_URL\.$/.exec(String(await seen(plain.href))) ?? [];
    plain.search = `?${written}`;
    expect(await seen(plain.href)).toMatchObject({ tls: false });
  });

  test('sslcert and sslkey log in, and sslcertmode=disable does not send them', async () => {
    const cert = `sslcert=${file('client.pem')} sslkey=${file('client.key')}`;
    expect(await seen(at(cert, 'with_cert'))).toMatchObject({ user: 'with_cert', tls: true });
    expect(await seen(at(`${cert} sslcertmode=disable`, 'with_cert'))).toMatch(/refused the login/);
  });

  test.runIf(wantedMajor >= 17)('sslnegotiation=direct', async () => {
    expect(await seen(at('sslmode=require sslnegotiation=direct'))).toMatchObject({ tls: true });
  });
});

test('a URL names the database in its path or in its query, which wins, and the other parameters too', async () => {
  const query = `user=postgres&password=${password}&application_name=mine`;
  const { port } = server;
  for (const url of [
    `postgresql://127.0.0.1:${port}?dbname=template1&${query}`,
    `postgresql://127.0.0.1:${port}/postgres?dbname=template1&${query}`,
    `postgres:///template1?host=127.0.0.1&port=${port}&${query}`,
    `postgres://nobody:wrong@db.invalid:1/template1?host=127.0.0.1&port=${port}&${query}`,
  ]) {
    expect(await seen(url)).toMatchObject({ database: 'template1', user: 'postgres', application: 'mine', port });
  }
});

test.skipIf(process.platform === 'win32')('a host that begins with / is the directory of a socket', async () => {
  const [directory, { port }] = [file('server'), server];
  for (const text of [
    `host=${directory} port=${port} user=only_tls password='p:w\\\\w' dbname=postgres`,
    `postgres://only_tls:p%3Aw%5Cw@/postgres?host=${directory}&port=${port}`,
    `postgres://only_tls:p%3Aw%5Cw@${encodeURIComponent(directory)}:${port}/postgres`,
  ]) {
    expect(await seen(text)).toMatchObject({ port: null, tls: false });
  }
});

describe('several hosts', () => {
  /** Nobody listens at the first; each server's password stands in the password file. */
  const several = async (parameters: string, hosts = [otherUrl, new URL(server.url)]) => {
    const lines = hosts.map((url) => `127.0.0.1:${url.port}:*:${url.username}:${url.password}`);
    await writeFile(file('several'), `# host:port:database:user:password\n${lines.join('\n')}\n`, { mode: 0o600 });
    const ports = [await freePort(), ...hosts.map(({ port }) => port)];
    const names = ports.map((port) => `127.0.0.1:${port}`).join(',');
    return `postgresql://postgres@${names}/${other.name}?passfile=${file('several')}&${parameters}`;
  };

  /** Also from a session that is read-only itself. */
  const setOther = (readOnly: 'on' | 'off') =>
    other.query(
      `begin read write; alter database ${other.name} set default_transaction_read_only = ${readOnly}; commit`,
    );

  beforeAll(async () => {
    const admin = await connect(server.url, 'test');
    await admin.query(`create database ${other.name}`);
    await admin.end();
  });

  test.each([
    ['target_session_attrs=any', 'the first'],
    ['', 'the first'],
    ['target_session_attrs=primary', 'the first'],
    ['target_session_attrs=read-only', 'the first'],
    ['target_session_attrs=read-write', 'the second'],
    ['target_session_attrs=prefer-standby', 'the first'],
  ])('are tried in order, %j takes %s that answers', async (parameters, which) => {
    const port = which === 'the first' ? Number(otherUrl.port) : server.port;
    expect(await seen(await several(parameters))).toMatchObject({ port });
  });

  test('all that were tried are named when none will do', async () => {
    expect(await seen(await several('target_session_attrs=standby'))).toMatch(
      /127\.0\.0\.1:\d+ refused the connection\. .*\. database "\S+" at 127\.0\.0\.1:\d+ is not a standby\. .* is not a standby\.$/,
    );
  });

  test('a name is looked up when it is its turn', async () => {
    expect(await seen(`postgres://u@127.0.0.1:${await freePort()},db.invalid:2/d`)).toMatch(
      /^database "d" at 127\.0\.0\.1:\d+ refused the connection\. .*\. database "d" at db\.invalid:2 has a host name that/,
    );
  });

  test('a wrong password is not tried on the next', async () => {
    const url = await several('password=wrong');
    expect(await seen(url)).toMatch(/\. database "\S+" at 127\.0\.0\.1:\d+ refused the login .*DATABASE_URL\.$/);
    expect(await seen(url)).not.toContain(`:${server.port}`);
  });

  test('load_balance_hosts=random comes to each of them', async () => {
    const url = await several('load_balance_hosts=random&target_session_attrs=any');
    const ports = new Set<unknown>();
    for (let tries = 0; tries < 50 && ports.size < 2; tries++) ports.add(((await seen(url)) as Seen).port);
    expect([...ports].sort()).toEqual([Number(otherUrl.port), server.port].sort());
  });

  test("a daemon's pool stays on its server, and looks for another when that one is not what it was", async () => {
    const url = await several('target_session_attrs=read-write', [new URL(server.url), otherUrl]);
    const admin = await connect(server.url, 'test');
    const pool = openPool(url, { applicationName: 'pool', max: 3, sessions: 'session' });
    const portOf = async (client: pg.PoolClient) =>
      (await client.query('select inet_server_port() as port')).rows[0].port as number;
    const clients: pg.PoolClient[] = [];
    const next = async () => {
      const client = await pool.connect();
      clients.push(client);
      return portOf(client);
    };
    try {
      expect(await next()).toBe(server.port);
      await admin.query(`alter database ${other.name} set default_transaction_read_only = on`);
      await setOther('off');
      await expect(next()).rejects.toThrow('the server is read-only. It was suitable before');
      expect(await next()).toBe(Number(otherUrl.port));
      expect(await next()).toBe(Number(otherUrl.port));
    } finally {
      for (const client of clients) client.release();
      await pool.end();
      await admin.query(`alter database ${other.name} reset default_transaction_read_only`);
      await admin.end();
      await setOther('on');
    }
  });

  test('are closed to webhooks, every one of them', async () => {
    const url = await several('target_session_attrs=read-write');
    const client = await connect(url, 'test');
    const endpoints = await endpointsOf(client, url);
    await client.end();
    for (const { port } of readTarget(url).hosts) expect(endpoints).toContainEqual({ host: '127.0.0.1', port });
    expect(endpoints.length).toBeGreaterThanOrEqual(3);
  });
});

describe('the environment and the files of libpq', () => {
  const sources = async (env: Record<string, string>) => {
    const result = await rowhookProcess(['sources'], { env: { HOME: folder, ...env } });
    return result.stderr;
  };
  /** It got so far: this database has no rowhook. */
  const arrived = (database: string) =>
    expect.stringContaining(`database "${database}" at 127.0.0.1:${server.port} has no`);

  test('PG… variables fill what the connection string leaves open', async () => {
    const env = { PGHOST: '127.0.0.1', PGPORT: String(server.port), PGUSER: 'postgres', PGDATABASE: 'template1' };
    expect(await sources({ DATABASE_URL: 'postgres://', PGPASSWORD: password, ...env })).toEqual(arrived('template1'));
    expect(await sources({ DATABASE_URL: 'dbname=postgres', PGPASSWORD: password, ...env })).toEqual(
      arrived('postgres'),
    );
    const root = { PGSSLMODE: 'verify-ca', PGSSLROOTCERT: file('stranger.pem') };
    expect(await sources({ DATABASE_URL: 'postgres://', PGPASSWORD: password, ...env, ...root })).toContain(
      'not trusted',
    );
    const cert = { PGSSLCERT: file('client.pem'), PGSSLKEY: file('client.key'), PGUSER: 'with_cert' };
    expect(await sources({ DATABASE_URL: 'postgres://', ...env, ...cert })).toEqual(arrived('template1'));
  });

  test('a service comes from the file, and its password from ~/.pgpass', async () => {
    await writeFile(
      file('services'),
      `# ours\n[prod]\nhost=127.0.0.1\nport=${server.port}\nuser=postgres\ndbname=template1\n[next]\nhost=x\n`,
    );
    await writeFile(file('.pgpass'), `127.0.0.1:${server.port}:*:only_tls:p\\:w\\\\w\n*:*:*:postgres:${password}\n`, {
      mode: 0o600,
    });
    const env = { PGSERVICEFILE: file('services') };
    expect(await sources({ DATABASE_URL: 'postgres://?service=prod', ...env })).toEqual(arrived('template1'));
    expect(await sources({ DATABASE_URL: 'service=prod dbname=postgres user=only_tls', ...env })).toEqual(
      arrived('postgres'),
    );
    expect(await sources({ DATABASE_URL: 'postgres://', PGSERVICE: 'prod', ...env })).toEqual(arrived('template1'));
    expect(await sources({ DATABASE_URL: 'service=none', ...env })).toContain(
      'DATABASE_URL names the service "none", which is not in',
    );
    const noFile = await sources({ DATABASE_URL: 'service=prod' });
    const [, variable = ''] = /or set (\w+)\.$/m.exec(noFile) ?? [];
    expect(await sources({ DATABASE_URL: 'service=prod', [variable]: file('services') })).toEqual(arrived('template1'));
    await chmod(file('.pgpass'), 0o644);
    const [, command = ''] = /Run "(chmod .*)"/.exec(await sources({ DATABASE_URL: 'service=prod', ...env })) ?? [];
    execFileSync('sh', ['-c', command]);
    expect(await sources({ DATABASE_URL: 'service=prod', ...env })).toEqual(arrived('template1'));
  });

  test('a service file that somebody is just writing to does not end a daemon that had read it', async () => {
    await writeFile(file('written'), '[prod]\nhost=h1,h2\ndbname=app\nuser=app\n');
    const text = `service=prod servicefile=${file('written')}`;
    const before = targetOf(text);
    await writeFile(file('written'), '[pr');
    expect(targetOf(text)).toEqual(before);
    expect(() => readTarget(text)).toThrow('names the service "prod", which is not in');
    await writeFile(file('written'), '[prod]\nhost=h3\ndbname=app\nuser=app\n');
    expect(targetOf(text).hosts).toEqual([{ name: 'h3', port: 5432 }]);
  });
});
