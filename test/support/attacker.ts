// A tenant with a database login of its own and bad intentions: a member of rowhook_app and of nothing else, with a schema
// to put tables, functions and operators into.

import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { databaseUrl, type TestDatabase } from './database.ts';

export interface Attacker {
  role: string;
  url: string;
  /** A connection of its own with the tenant set; close it. */
  connect(tenantId?: string): Promise<pg.Client>;
  /** Runs statements one after another, whatever fails, and rolls all of it back. Results, errors and notices. */
  attempt(tenantId: string, ...statements: string[]): Promise<Loot>;
  drop(): Promise<void>;
}

export interface Loot {
  /** Of all statements. */
  rows: Record<string, unknown>[];
  errors: { code: string; message: string }[];
  /** Everything the server said, for the search of what it should not have said. */
  everything: string;
}

export async function createAttacker(database: TestDatabase): Promise<Attacker> {
  const role = `attacker_${randomBytes(4).toString('hex')}`;
  const password = randomBytes(12).toString('hex');
  await database.query(`create role ${role} login password '${password}'`);
  await database.query(`grant rowhook_app to ${role}`);
  await database.query(`create schema lair authorization ${role}`);
  const url = databaseUrl(database.url, database.name, role, password);

  const connect = async (tenantId?: string) => {
    const client = new pg.Client(url);
    client.on('error', () => {});
    await client.connect();
    if (tenantId !== undefined) await client.query("select set_config('rowhook.tenant_id', $1, false)", [tenantId]);
    return client;
  };

  return {
    role,
    url,
    connect,
    async attempt(tenantId, ...statements) {
      const client = await connect(tenantId);
      const loot: Loot = { rows: [], errors: [], everything: '' };
      const hear = (said: unknown) => {
        loot.everything += `${JSON.stringify(said)}\n`;
      };
      client.on('notice', (notice) => hear({ ...notice, message: notice.message }));
      try {
        await client.query('begin');
        for (const statement of statements) {
          await client.query('savepoint attempt');
          try {
            const { rows } = await client.query(statement);
            hear(rows);
            loot.rows.push(...(rows ?? []));
          } catch (thrown) {
            const error = thrown as pg.DatabaseError;
            hear({ ...error, message: error.message });
            loot.errors.push({ code: error.code ?? '', message: error.message });
            await client.query('rollback to savepoint attempt');
          }
        }
      } finally {
        await client.query('rollback').catch(() => {});
        await client.end();
      }
      return loot;
    },
    async drop() {
      await database.query(`drop owned by ${role} cascade`);
      await database.query(`drop role ${role}`);
    },
  };
}
