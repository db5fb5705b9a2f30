// Roles of rowhook that were granted without their privileges: what an error, the doctor or status
// says about them mends it.

import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { explainAfterwards, withClient } from '../../src/database/connections.ts';
import { migrate } from '../../src/database/migrations.ts';
import { examine } from '../../src/doctor/checks.ts';
import { LIMITS } from '../../src/doctor/finding.ts';
import { readStatus } from '../../src/operations/status.ts';
import { rowhook } from '../support/cli.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { wantedMajor } from '../support/server.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

/** A login, and a role between it and those of rowhook. */
async function withRole(work: (role: string, url: string) => Promise<void>): Promise<void> {
  const role = `rowhook_test_${randomBytes(6).toString('hex')}`;
  await database.query(`create role ${role} login password 'secret'; create role ${role}_team noinherit`);
  try {
    await work(role, databaseUrl(database.url, database.name, role, 'secret'));
  } finally {
    await database.query(`drop owned by ${role}; drop role ${role}, ${role}_team`);
  }
}

/** PostgreSQL 15 has no grants of this kind, but a role between that does not inherit. */
function withoutPrivileges(granted: string, role: string): string {
  return wantedMajor >= 16
    ? `grant ${granted} to ${role} with inherit false, set false`
    : `grant ${granted} to ${role}_team; grant ${role}_team to ${role}`;
}

/** Runs the statements that errors of `work` name, until it works. */
async function statementsFor(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<string[]> {
  const statements: string[] = [];
  for (;;) {
    const message = await withClient(url, 'rowhook cli', work).then(
      () => '',
      (error: Error) => error.message,
    );
    if (message === '') return statements;
    const statement = /Let a DBA run: (.*)\.$/.exec(message)?.[1];
    if (statement === undefined || statements.includes(statement)) throw new Error(message);
    await database.query(statement);
    statements.push(statement);
  }
}

test.each(['rowhook_daemon', 'rowhook_app', 'none of them'])(
  'a member of rowhook_owner without its privileges, which inherits from %s, watches and migrates after one statement',
  (held) =>
    withRole(async (role, url) => {
      const others = held === 'none of them' ? withoutPrivileges('rowhook_daemon', role) : `grant ${held} to ${role}`;
      await database.query(others);
      await database.query(withoutPrivileges('rowhook_owner', role));
      await database.query(
        `create table ${role} (id int primary key, tenant_id text); alter table ${role} owner to ${role}`,
      );
      const granted = [expect.stringContaining(`grant rowhook_owner to ${role}`)];
      const watched = await statementsFor(url, (client) => client.query('select rowhook.watch($1::text)', [role]));
      expect(watched).toEqual(granted);
      expect(await statementsFor(url, (client) => migrate(client))).toEqual([]);
      await database.query(`select rowhook.unwatch('${role}')`);
    }),
);

test.runIf(wantedMajor >= 16)(
  'a member of rowhook_owner that may not SET ROLE to it migrates after its statement',
  () =>
    withRole(async (role, url) => {
      await database.query(`grant rowhook_owner to ${role} with inherit true, set false`);
      const statements = await statementsFor(url, (client) => migrate(client));
      expect(statements).toEqual([`grant rowhook_owner to ${role} with inherit true, set true`]);
    }),
);

test('whatever a login may not see as rowhook_daemon has that statement as its remedy', () =>
  withRole(async (role, url) => {
    await database.query(`grant rowhook_app to ${role}; ${withoutPrivileges('rowhook_daemon', role)}`);
    const statement = `grant rowhook_daemon to ${role}`;
    await withClient(url, 'rowhook doctor', async (client) => {
      const about = { client, databaseUrl: url, wake: 'notify', environment: undefined } as const;
      const results = await examine({ ...about, limits: { ...LIMITS, listenMs: 100 }, now: Date.now });
      const unseen = results.filter(({ kind, check }) => kind === 'unseen' && check !== 'transactions');
      expect(unseen.length).toBeGreaterThan(3);
      for (const result of unseen) expect(result).toMatchObject({ fix: expect.stringContaining(statement) });
      const { unseen: parts } = await readStatus(client, 10);
      expect(parts.length).toBeGreaterThan(3);
      for (const part of parts) expect(part).toContain(statement);
    });
    // a daemon that was running when its privileges were taken away
    const running = new pg.Client(url);
    await running.connect();
    const refused = await running.query('select from rowhook.webhook_lanes').catch((error: Error) => error);
    await running.end();
    expect((await explainAfterwards(refused, url)).message).toContain(statement);
  }));

test('a login of the application is told the role of the daemon, not that of the owner, and status invents nothing', () =>
  withRole(async (role, url) => {
    await database.query(`grant rowhook_app to ${role}`);
    const { stderr } = await rowhook(['start', '--http-port', '0'], { env: { DATABASE_URL: url } });
    expect(stderr).toMatch(/permission denied for \w+ webhook_\w+\. Connect as a member of rowhook_daemon\.\n$/);
    const { stdout } = await rowhook(['status'], { env: { DATABASE_URL: url } });
    const unknown = [...stdout.matchAll(/^(\S.*?) {2,}unknown$/gm)].map(([, name]) => name);
    expect(unknown).toEqual([
      'environment',
      'daemons',
      'behind',
      'tenants that lag',
      'oldest undelivered',
      'deliveries',
      'webhooks',
      'breakers',
      'watched tables',
      'inbound events',
    ]);
  }));
