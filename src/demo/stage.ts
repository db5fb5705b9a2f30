/**
 * Starts everything that the demo needs, and stops it in reverse order: PostgreSQL, tables, a
 * receiver, a webhook, a daemon, the API.
 */
import { readFile } from 'node:fs/promises';
import { findPackageJSON } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { startApi } from '../api/server.ts';
import { readServeSettings, readSettings } from '../config/settings.ts';
import { startDaemon } from '../daemon/daemon.ts';
import { connect } from '../database/connections.ts';
import { migrate } from '../database/migrations.ts';
import { createLogger } from '../observe/log.ts';
import { type Out, printPairs } from '../shared/terminal.ts';
import { UserError } from '../shared/user-error.ts';
import { buildConsole } from './console.ts';
import { type Embedded, startEmbedded } from './postgres.ts';
import { type Arrival, type DemoReceiver, startDemoReceiver } from './receiver.ts';
import { RETRY_SECONDS, TENANT } from './script.ts';

/** Limit on waiting. After it the demo continues, and the script reports what is missing. */
const READING_MS_MAX = 5_000;

export interface StageOptions {
  /** Major version of PostgreSQL. */
  pg: 15 | 18;
  port?: number;
  /** False: nobody will open it. */
  hasConsole: boolean;
}

export interface Stage {
  client: pg.Client;
  databaseUrl: string;
  receiver: DemoReceiver;
  webhookId: string;
  /** Ends with /api. */
  apiUrl: string;
  /** A key of the API for the demo's tenant. */
  apiKey: string;
  /** A new link that opens the console, with a session. Null: there is no console. */
  consoleLink(): Promise<string | null>;
  /** Lets deliveries in flight end, then stops everything. Every call returns the same promise. */
  close(): Promise<void>;
}

export async function setStage(options: StageOptions, onArrival: (arrival: Arrival) => void, out: Out): Promise<Stage> {
  const closers: (() => Promise<unknown>)[] = [];
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= (async () => {
      for (const closer of closers.reverse()) await closer();
    })();
    return closing;
  };
  try {
    const startedAt = performance.now();
    // Meanwhile PostgreSQL starts.
    const isBuilt = options.hasConsole ? buildConsole() : Promise.resolve(false);
    isBuilt.catch(() => {});
    const postgres = await startPostgres(options);
    closers.push(() => postgres.stop());
    const databaseUrl = await createDatabase(postgres);
    const client = await connect(databaseUrl, 'rowhook demo');
    closers.push(() => client.end());
    const { server_version } = (await client.query('show server_version')).rows[0];
    const tell = (name: string, text: string) => printPairs(out, [[name.padEnd(10), text]]);
    tell('PostgreSQL', `${server_version}, port ${postgres.port}, started in ${seconds(startedAt)} s`);

    const { version } = await migrate(client);
    tell('rowhook', `schema "rowhook" at version ${version}, same as: rowhook migrate`);
    await client.query(await readFile(join(packageFolder(), 'sql/crm.sql'), 'utf8'));
    const watched = await client.query<{ relation: string }>("select relation from rowhook.watch_preset('crm')");
    const tables = watched.rows.map(({ relation }) => relation.replace('public.', '')).join(', ');
    tell('tables', `${tables}, with: select rowhook.watch_preset('crm')`);

    const receiver = await startDemoReceiver(onArrival);
    closers.push(() => receiver.close());
    tell('receiver', `${receiver.url}, verifies both signatures`);
    const { id, secret } = await createWebhook(client, receiver.url);
    receiver.trust(secret);
    tell('webhook', `${id}, with: insert into rowhook.webhook_configurations …`);

    const flags = { databaseUrl, allowHttp: true, allowCidrs: '127.0.0.0/8', httpPort: 0 };
    // The demo shows a refused delivery. The daemon's JSON warning about it would disturb the
    // output.
    const daemon = await startDaemon(readSettings(flags, {}), createLogger('error'));
    closers.push(() => daemon.stop());
    await untilReading(client);
    tell('daemon', 'running, same as: rowhook start --allow-http --allow-cidrs 127.0.0.0/8');

    const api = await startApi(
      readServeSettings({ databaseUrl, allowHttp: true, allowCidrs: '127.0.0.0/8', apiPort: 0, apiMetricsPort: 0 }, {}),
      createLogger('error'),
    );
    closers.push(() => api.stop());
    const apiUrl = `http://127.0.0.1:${api.port}/api`;
    tell('API', `${apiUrl}, same as: rowhook serve --allow-http --allow-cidrs 127.0.0.0/8`);
    const apiKey = await createKey(client);
    const hasConsole = await isBuilt;
    const consoleLink = async () => (hasConsole ? portalLink(apiUrl, apiKey) : null);
    return { client, databaseUrl, receiver, webhookId: id, apiUrl, apiKey, consoleLink, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Errors here come from the machine (a package, a port, a folder), and their messages are made for
 * people.
 */
async function startPostgres({ pg: major, port }: StageOptions): Promise<Embedded> {
  try {
    // With this setting, each delivery's age can be measured from its commit.
    const settings = { track_commit_timestamp: 'on' };
    return await startEmbedded({ major, settings, ...(port === undefined ? {} : { port }) });
  } catch (error) {
    const { message } = error as Error;
    if (/Address already in use/.test(message)) {
      throw new UserError(`port ${port} is in use. Stop the program that uses it, or give another --port.`);
    }
    throw new UserError(`demo: ${message}`, 1, { cause: error });
  }
}

async function createDatabase(postgres: Embedded): Promise<string> {
  const server = await connect(postgres.url, 'rowhook demo');
  try {
    await server.query('create database demo');
  } finally {
    await server.end();
  }
  return postgres.urlOf('demo');
}

/** A webhook is a row. The column's default creates the secret. */
async function createWebhook(client: pg.Client, url: string): Promise<{ id: string; secret: string }> {
  await client.query('insert into rowhook.webhook_tenants (id, name, slug) values ($1, $2, $3)', [
    TENANT.id,
    TENANT.name,
    TENANT.slug,
  ]);
  const { rows } = await client.query<{ id: string; secret: string }>(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, retry_strategy, retry_delay_seconds)
     values ($1, 'Demo', $2, '{*}', 'linear', $3)
     returning id, secret`,
    [TENANT.id, url, RETRY_SECONDS],
  );
  return rows[0] as { id: string; secret: string };
}

async function createKey(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ key: string }>(
    "select rowhook.create_api_key('Demo', '{read,write,keys}', $1) as key",
    [TENANT.id],
  );
  return rows[0]?.key ?? '';
}

/** As an application asks for one. */
async function portalLink(apiUrl: string, apiKey: string): Promise<string> {
  const answer = await fetch(`${apiUrl}/v1/me/portal-links`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ expires_in: 86_400 }),
  });
  return ((await answer.json()) as { url: string }).url;
}

/**
 * Waits for a new daemon, which first takes its lanes and only at the end listens. Otherwise the
 * first delivery would look slow.
 */
async function untilReading(client: pg.Client): Promise<void> {
  const deadline = performance.now() + READING_MS_MAX;
  while (performance.now() < deadline) {
    const { rowCount } = await client.query("select from pg_stat_activity where application_name = 'rowhook listen'");
    if (rowCount) return;
    await sleep(20);
  }
}

/** The folder of the checkout or of the installed package. */
function packageFolder(): string {
  return dirname(findPackageJSON(import.meta.url) ?? '.');
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1);
}
