import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { migrate } from '../../src/database/migrations.ts';
import { connected } from './connected.ts';

export const templates = { plain: 'rowhook_template', crm: 'rowhook_template_crm' } as const;
/** The login of daemons under test, a member of rowhook_daemon and no more. */
export const daemonRole = 'rowhook_test_daemon';
/** The login of `rowhook serve` under test, a member of rowhook_api and no more. Both have one password. */
export const apiRole = 'rowhook_test_api';

export interface TestDatabase {
  name: string;
  /** Superuser. */
  url: string;
  daemonUrl: string;
  apiUrl: string;
  /** Superuser. */
  pool: pg.Pool;
  query<Row extends pg.QueryResultRow = Record<string, unknown>>(sql: string, params?: unknown[]): Promise<Row[]>;
  /** Also ends whatever is still connected to it. */
  drop(): Promise<void>;
}

export interface DatabaseOptions {
  crm?: boolean;
  bare?: boolean;
  /** Not UTF8; with rowhook. */
  encoding?: string;
}

/** A database of one's own: with rowhook, with the CRM tables watched as well (`crm`), or with neither (`bare`). */
export async function createDatabase(options: DatabaseOptions = {}): Promise<TestDatabase> {
  const serverUrl = inject('serverUrl');
  const name = `rowhook_test_${randomBytes(6).toString('hex')}`;
  const { bare, crm, encoding } = options;
  const template = bare || encoding ? 'template0' : crm ? templates.crm : templates.plain;
  const locale = encoding ? ` encoding '${encoding}' locale 'C'` : '';
  // copies files: 40 ms of CPU, where writing every page to the WAL takes 140
  await onServer(serverUrl, `create database ${name} template ${template}${locale} strategy file_copy`);
  if (encoding) await connected(databaseUrl(serverUrl, name), migrate);

  const url = databaseUrl(serverUrl, name);
  const pool = new pg.Pool({ connectionString: url, max: 20 });
  // Tests kill connections and servers; an idle client that dies of it must not end the test process.
  pool.on('error', () => {});
  // nor one that drop() meets while it closes, which the pool listens to no more
  pool.on('connect', (client) => client.on('error', () => {}));
  // it is a copy of the template, which a daemon would notice as well
  if (!bare) await pool.query('select rowhook._notice_restore()');
  return {
    name,
    url,
    daemonUrl: databaseUrl(serverUrl, name, daemonRole, inject('daemonPassword')),
    apiUrl: databaseUrl(serverUrl, name, apiRole, inject('daemonPassword')),
    pool,
    query: async <Row extends pg.QueryResultRow>(sql: string, params?: unknown[]) =>
      (await pool.query<Row>(sql, params)).rows,
    drop: async () => {
      await pool.end();
      await onServer(serverUrl, `drop database if exists ${name} with (force)`);
    },
  };
}

export function databaseUrl(serverUrl: string, database: string, user?: string, password?: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${database}`;
  if (user !== undefined) url.username = user;
  if (password !== undefined) url.password = password;
  return url.href;
}

async function onServer(serverUrl: string, statement: string): Promise<void> {
  await connected(serverUrl, (client) => client.query(statement));
}
