import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Embedded, startEmbedded } from '../../src/demo/postgres.ts';
import { waitUntil } from '../support/wait.ts';

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client(url);
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query({ text: sql, rowMode: 'array' })).rows.flat();
  } finally {
    await client.end();
  }
}

const settings = { fsync: 'off' };

describe('an embedded server', () => {
  let server: Embedded;
  beforeAll(async () => {
    server = await startEmbedded({ settings: { ...settings, max_connections: '17' } });
    await query(server.url, 'create table kept as select 42 as answer');
  });
  afterAll(() => server.stop('immediate'));

  test('answers, in UTF-8, with the settings it was given', async () => {
    const sql = "select current_setting('server_encoding'), current_setting('max_connections')";
    expect(await query(server.url, sql)).toEqual(['UTF8', '17']);
    expect(await query(server.urlOf('template1'), 'select current_database()')).toEqual(['template1']);
  });

  test('listens on the loopback interface only, and asks for the password', async () => {
    const sql = "select current_setting('listen_addresses'), current_setting('unix_socket_directories')";
    expect(await query(server.url, sql)).toEqual(['127.0.0.1', '']);
    await expect(query(server.urlOf('postgres', 'postgres', 'wrong'), 'select 1')).rejects.toThrow('password');
  });

  test('starts again on its port, with its data', async () => {
    await server.stop();
    await expect(query(server.url, 'select 1')).rejects.toThrow('ECONNREFUSED');
    await server.start();
    expect(await query(server.url, 'select answer from kept')).toEqual([42]);
  });

  test('recovers from a kill', async () => {
    await query(server.url, 'insert into kept values (43)');
    await server.stop('kill');
    await server.start();
    expect(await query(server.url, 'select answer from kept order by 1')).toEqual([42, 43]);
  });

  test('start and stop may be repeated', async () => {
    await server.start();
    await server.stop('immediate');
    await server.stop();
    await server.start();
    expect(await query(server.url, 'select 1')).toEqual([1]);
  });

  test('leaves room for a second one beside it, of another major version', async () => {
    const other = await startEmbedded({ major: 15, settings });
    try {
      expect(other.port).not.toBe(server.port);
      expect([server.major, other.major]).toEqual([18, 15]);
      const versions = await Promise.all([server.url, other.url].map((url) => query(url, 'show server_version')));
      expect(versions.flat().map((version) => Number.parseInt(String(version), 10))).toEqual([18, 15]);
    } finally {
      await other.stop('immediate');
    }
  });

  test('says which port is taken', async () => {
    await expect(startEmbedded({ port: server.port, settings })).rejects.toThrow('Address already in use');
  });
});

test('a data directory that is given is kept, and opened again with its password', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'rowhook-test-'));
  try {
    await chmod(directory, 0o755); // As root, the server is somebody else.
    const dataDir = join(directory, 'data');
    const first = await startEmbedded({ dataDir, settings });
    await query(first.url, 'create table kept as select 42 as answer');
    await first.stop();
    const second = await startEmbedded({ dataDir, settings });
    expect(await query(second.url, 'select answer from kept')).toEqual([42]);
    await second.stop();
    await expect(startEmbedded({ dataDir: directory, settings })).rejects.toThrow('is not empty');
  } finally {
    await rm(directory, { recursive: true });
  }
});

// A process that holds a server and says where; what it does then is up to `ending`.
async function processWithServer(ending: string) {
  const program = `
    import { startEmbedded } from ${JSON.stringify(join(import.meta.dirname, '../../src/demo/postgres.ts'))};
    const { dataDir, url } = await startEmbedded({ settings: { fsync: 'off' } });
    console.log(JSON.stringify({ dataDir, url }));
    ${ending}`;
  const holder = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(holder, 'exit');
  const errors: Buffer[] = [];
  holder.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  const [line] = await once(createInterface(holder.stdout), 'line');
  const { dataDir, url } = JSON.parse(line) as { dataDir: string; url: string };
  return { holder, ended, dataDir, url, errors: () => Buffer.concat(errors).toString() };
}

async function expectNothingLeft({ dataDir, url }: { dataDir: string; url: string }): Promise<void> {
  await waitUntil('the data are removed', () => !existsSync(dataDir));
  await expect(query(url, 'select 1')).rejects.toThrow('ECONNREFUSED');
}

describe('the process that started a server', () => {
  test('is not kept alive by it, keeps its exit code, and leaves nothing behind', async () => {
    const { ended, errors, ...server } = await processWithServer('process.exitCode = 3;');
    expect(await ended).toEqual([3, null]);
    expect(errors()).toBe('');
    await expectNothingLeft(server);
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)('leaves nothing behind on %s', async (signal) => {
    const { holder, ended, ...server } = await processWithServer('setInterval(() => {}, 1_000);');
    holder.kill(signal);
    expect(await ended).toEqual([null, signal]);
    await expectNothingLeft(server);
  });

  test('leaves nothing behind on an exception', async () => {
    const { ended, errors, ...server } = await processWithServer("throw new Error('a mistake');");
    expect(await ended).toEqual([1, null]);
    expect(errors()).toContain('a mistake');
    await expectNothingLeft(server);
  });
});
