// One PostgreSQL for the whole run, with two template databases that every test file copies its own from.
//
// ROWHOOK_TEST_PG            major version of the embedded server: 18 (default) or 15
// ROWHOOK_TEST_DATABASE_URL  a server to use instead; its user must be a superuser

import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { migrate } from '../../src/database/migrations.ts';
import { startEmbedded } from '../../src/demo/postgres.ts';
import { connected } from './connected.ts';
import { apiRole, daemonRole, databaseUrl, templates } from './database.ts';

declare module 'vitest' {
  interface ProvidedContext {
    serverUrl: string;
    daemonPassword: string;
  }
}

// Nothing here has to survive a power cut, and no password has to resist a guess: 4096 rounds for each of thousands of
// logins take 3 ms of CPU.
const settings = (major: 15 | 18) => ({
  fsync: 'off',
  full_page_writes: 'off',
  max_connections: '300',
  max_prepared_transactions: '20',
  ...(major > 15 && { scram_iterations: '1' }),
});

// Hundreds of databases are made, of 330 files each, and dropped again. In memory that takes 68 ms of CPU for each, on a
// disk 99, and more the longer a run is: ext4 looks for a free inode past all that were deleted within five seconds.
const MEMORY = '/dev/shm';
const NEEDED_BYTES = 4 * 2 ** 30;

/** A container may have no more than 64 MB there, and run no program: ours are copied where the server's account finds them. */
async function hasRoom(folder: string): Promise<boolean> {
  const room = await statfs(folder).catch(() => undefined);
  const mounts = await readFile('/proc/mounts', 'utf8').catch(() => '');
  const runs = mounts.split('\n').some((line) => line.split(' ')[1] === folder && !line.includes('noexec'));
  return runs && room !== undefined && room.bavail * room.bsize >= NEEDED_BYTES;
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env.ROWHOOK_TEST_DATABASE_URL || undefined;
  // also for the servers that test files start
  if (await hasRoom(MEMORY)) process.env.TMPDIR = MEMORY;
  const folder = await mkdtemp(join(tmpdir(), 'rowhook-test-'));
  // hundreds of processes load the same modules: 70 ms of CPU for a command instead of 160
  process.env.NODE_COMPILE_CACHE = join(folder, 'compiled');
  // test/support/server.ts keeps one there, and copies of it
  process.env.ROWHOOK_TEST_CLUSTERS = folder;
  // the server's account is not ours
  await chmod(folder, 0o755);
  const major = wantedMajor();
  const embedded = given ? undefined : await startEmbedded({ major, settings: settings(major) });
  const serverUrl = given ?? embedded?.url ?? '';
  const daemonPassword = randomBytes(12).toString('hex');
  try {
    // initdb knows no setting
    if (embedded)
      await connected(serverUrl, (server) =>
        server.query(`alter role postgres password '${new URL(serverUrl).password}'`),
      );
    await makeTemplates(serverUrl, daemonPassword);
  } catch (error) {
    await embedded?.stop('immediate');
    throw error;
  }
  project.provide('serverUrl', serverUrl);
  project.provide('daemonPassword', daemonPassword);
  return async () => {
    await embedded?.stop('immediate');
    // a command that was killed may still be writing
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  };
}

function wantedMajor(): 15 | 18 {
  const wanted = process.env.ROWHOOK_TEST_PG || '18';
  if (wanted === '15' || wanted === '18') return Number(wanted) as 15 | 18;
  throw new Error(
    `ROWHOOK_TEST_PG: "${wanted}" is not one of 15, 18. Use ROWHOOK_TEST_DATABASE_URL for other servers.`,
  );
}

async function makeTemplates(serverUrl: string, daemonPassword: string): Promise<void> {
  await connected(serverUrl, async (server) => {
    const { rows } = await server.query('select version()');
    console.log(`Testing on ${rows[0].version.split(' on ')[0]}`);
    // A server that is not ours may hold those of an earlier run.
    for (const name of Object.values(templates)) await server.query(`drop database if exists ${name} with (force)`);
    await server.query(`create database ${templates.plain} strategy file_copy`);
  });
  await connected(databaseUrl(serverUrl, templates.plain), async (template) => {
    await migrate(template);
    for (const [role, group] of [
      [daemonRole, 'rowhook_daemon'],
      [apiRole, 'rowhook_api'],
    ]) {
      const { rowCount } = await template.query('select from pg_roles where rolname = $1', [role]);
      if (!rowCount) await template.query(`create role ${role} login`);
      await template.query(`alter role ${role} password '${daemonPassword}'`);
      await template.query(`grant ${group} to ${role}`);
    }
  });
  await connected(serverUrl, (server) =>
    server.query(`create database ${templates.crm} template ${templates.plain} strategy file_copy`),
  );
  await connected(databaseUrl(serverUrl, templates.crm), async (template) => {
    await template.query(await readFile(new URL('../../sql/crm.sql', import.meta.url), 'utf8'));
    await template.query("select rowhook.watch_preset('crm')");
  });
}
