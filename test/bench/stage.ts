// What every measurement needs: an embedded PostgreSQL with rowhook and the CRM tables, a receiver, daemons.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { migrate } from '../../src/database/migrations.ts';
import { type Embedded, startEmbedded } from '../../src/demo/postgres.ts';
import { connected } from '../support/connected.ts';
import { Child } from './child.ts';
import { memoryMb, processesNamed, treeCpuMs } from './host.ts';
import type { Marks } from './receiver.ts';

const DAEMON = 'bench_daemon';
const API = 'bench_api';
const TEMPLATE = 'bench_template';
const PROGRAM = join(import.meta.dirname, '../../bin/rowhook.ts');

/** Data that must be on a disk stand here, wherever the others are. */
const DISK = '/var/tmp';

/** No flush of a disk is measured but where it says so: what is left is what rowhook costs. */
const SETTINGS = {
  shared_buffers: '512MB',
  max_wal_size: '2GB',
  checkpoint_timeout: '30min',
};

export interface Options {
  major: 15 | 18;
  /** Of the sizes that the figures are meant for. */
  scale: number;
  /** How often a baseline and its figure take turns. */
  rounds: number;
  /** Of `neighbours`, only those whose name has this text are measured. */
  match?: string;
  /** Of `neighbours`: how many daemons work. */
  daemons: number;
  /** CPU profiles of daemons go there. */
  profiles?: string;
  /** Commits are flushed to a disk. */
  flushes?: boolean;
}

export interface Daemon {
  pid: number;
  memory(): { now: number; most: number };
  stop(): Promise<void>;
}

export class Stage {
  readonly options: Options;
  readonly server: Embedded;
  readonly receiver: Child;
  readonly origin: string;
  readonly #password: string;
  readonly #logs = mkdtempSync(join(tmpdir(), 'rowhook-bench-'));

  private constructor(options: Options, server: Embedded, password: string, receiver: Child, port: number) {
    this.options = options;
    this.server = server;
    this.#password = password;
    this.receiver = receiver;
    this.origin = `http://127.0.0.1:${port}`;
  }

  static async open(options: Options): Promise<Stage> {
    const { major, flushes } = options;
    const inMemory = process.env.TMPDIR;
    if (flushes) process.env.TMPDIR = DISK;
    const server = await startEmbedded({ major, settings: { ...SETTINGS, max_connections: '100' } });
    if (inMemory === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = inMemory;
    const password = randomBytes(12).toString('hex');
    await connected(server.url, (client) => client.query(`create database ${TEMPLATE}`));
    if (!flushes) await connected(server.url, (client) => client.query('alter system set fsync = off'));
    await connected(server.url, (client) => client.query('select pg_reload_conf()'));
    await connected(server.urlOf(TEMPLATE), async (client) => {
      await migrate(client);
      await client.query(`create role ${DAEMON} login password '${password}'; grant rowhook_daemon to ${DAEMON}`);
      await client.query(`create role ${API} login password '${password}'; grant rowhook_api to ${API}`);
      await client.query(readFileSync(new URL('../../sql/crm.sql', import.meta.url), 'utf8'));
      await client.query("select rowhook.watch_preset('crm')");
    });
    const receiver = new Child('receiver.ts');
    return new Stage(options, server, password, receiver, await receiver.ask<number>('listen'));
  }

  /** Milliseconds on a CPU of PostgreSQL, all of its processes. */
  serverCpuMs(): number {
    return treeCpuMs(Number.parseInt(readFileSync(join(this.server.dataDir, 'postmaster.pid'), 'utf8'), 10));
  }

  /** A size at this scale, `least` at least. */
  size(full: number, least = 2_000): number {
    return Math.max(Math.min(full, least), Math.round(full * this.options.scale));
  }

  /** Seconds at this scale. */
  seconds(full: number): number {
    return Math.max(0.5, full * Math.min(1, this.options.scale * 5));
  }

  /** Works in a database of its own, which is gone afterwards. */
  async database<T>(work: (database: Database) => Promise<T>): Promise<T> {
    const name = `bench_${randomBytes(6).toString('hex')}`;
    await connected(this.server.url, (client) => client.query(`create database ${name} template ${TEMPLATE}`));
    const client = new pg.Client(this.server.urlOf(name));
    // it shows at the next query; else it would hide why the measurement ended
    client.on('error', () => {});
    await client.connect();
    // a copy counts as a restored database until somebody has looked, and the first daemon would write the whole backlog anew
    await client.query('select rowhook._notice_restore()');
    const database = new Database(
      this,
      client,
      this.server.urlOf(name),
      this.server.urlOf(name, DAEMON, this.#password),
      this.server.urlOf(name, API, this.#password),
    );
    try {
      return await work(database);
    } finally {
      await database.close();
      await connected(this.server.url, (server) => server.query(`drop database ${name} with (force)`));
    }
  }

  /** `httpPort` of /healthz; 0: any. */
  startDaemon(url: string, httpPort = 0): Daemon {
    const { profiles } = this.options;
    const log = openSync(join(this.#logs, `${randomBytes(6).toString('hex')}.log`), 'w');
    const flags = profiles ? ['--cpu-prof', `--cpu-prof-dir=${profiles}`] : [];
    const env = {
      PATH: process.env.PATH,
      DATABASE_URL: url,
      ROWHOOK_ALLOW_HTTP: 'true',
      ROWHOOK_ALLOW_CIDRS: '127.0.0.0/8',
      ROWHOOK_HTTP_PORT: String(httpPort),
    };
    const child: ChildProcess = spawn(process.execPath, [...flags, PROGRAM, 'start'], {
      env,
      stdio: ['ignore', log, log],
    });
    const pid = child.pid as number;
    return {
      pid,
      memory: () => memoryMb(pid),
      async stop() {
        if (child.exitCode !== null) throw new Error('the daemon has ended before it was stopped');
        const ended = once(child, 'exit');
        child.kill('SIGTERM');
        await ended;
      },
    };
  }

  /** Waits until the receiver has got so many requests, and says when each came. */
  async received(requests: number, everyMs = 100): Promise<Marks> {
    let before = -1;
    let stuckSince = performance.now();
    for (;;) {
      const count = await this.receiver.ask<number>('count');
      if (count >= requests) return this.receiver.ask<Marks>('marks');
      if (count > before) stuckSince = performance.now();
      if (performance.now() - stuckSince > 120_000)
        throw new Error(`${count} of ${requests} requests came, and then none for 2 minutes`);
      before = count;
      await sleep(everyMs);
    }
  }

  /** `failed`: the daemons' logs are kept, and it is said where. */
  async close(failed: boolean): Promise<void> {
    await this.receiver.stop();
    await this.server.stop('immediate');
    if (failed) console.error(`The logs of the daemons are in ${this.#logs}`);
    else rmSync(this.#logs, { recursive: true });
  }
}

export class Database {
  readonly stage: Stage;
  readonly client: pg.Client;
  readonly url: string;
  /** For `rowhook serve`. */
  readonly apiUrl: string;
  readonly #daemonUrl: string;
  readonly #daemons = new Set<Daemon>();

  constructor(stage: Stage, client: pg.Client, url: string, daemonUrl: string, apiUrl: string) {
    this.stage = stage;
    this.client = client;
    this.url = url;
    this.#daemonUrl = daemonUrl;
    this.apiUrl = apiUrl;
  }

  async query<Row extends pg.QueryResultRow = Record<string, never>>(sql: string, values?: unknown[]): Promise<Row[]> {
    return (await this.client.query<Row>(sql, values)).rows;
  }

  /** One row, one column. */
  async value<T>(sql: string): Promise<T> {
    return Object.values((await this.client.query(sql)).rows[0])[0] as T;
  }

  /** `port`: where the daemon reaches the database, if not at the server's own. */
  startDaemon(httpPort?: number, port?: number): Daemon {
    const url = new URL(this.#daemonUrl);
    if (port !== undefined) url.port = String(port);
    const daemon = this.stage.startDaemon(url.href, httpPort);
    this.#daemons.add(daemon);
    return daemon;
  }

  /** Waits until each of so many daemons has lanes. */
  async sharedByDaemons(count: number): Promise<void> {
    while ((await this.value<number>('select count(distinct owner)::int from rowhook.webhook_lanes')) < count)
      await sleep(200);
  }

  /** Processes of the server that work for the daemons of this database. */
  daemonBackends(): number[] {
    return this.#backendsOf(DAEMON);
  }

  /** Processes of the server that work for `rowhook serve`. */
  apiBackends(): number[] {
    return this.#backendsOf(API);
  }

  /** Processes of the server that work for the benchmark itself. */
  benchBackends(): number[] {
    return this.#backendsOf(new URL(this.url).username);
  }

  #backendsOf(role: string): number[] {
    return processesNamed(`postgres: ${role} ${new URL(this.url).pathname.slice(1)} `);
  }

  async stopDaemon(daemon: Daemon): Promise<void> {
    this.#daemons.delete(daemon);
    await daemon.stop();
  }

  /** Waits until everything that was captured is done. */
  async settled(): Promise<void> {
    for (;;) {
      const open = await this.value<boolean>(
        `select exists (select from rowhook.webhook_lanes where to_snapshot is not null)
             or exists (select from rowhook.webhook_lagging_tenants)
             or exists (select from rowhook.webhook_outbox o join rowhook.webhook_lanes l using (lane) where not pg_visible_in_snapshot(o.xid, l.from_snapshot))
             or exists (select from rowhook.webhook_deliveries where state = 'waiting')`,
      );
      if (!open) return;
      await sleep(200);
    }
  }

  async close(): Promise<void> {
    for (const daemon of this.#daemons) await daemon.stop();
    await this.client.end();
  }
}
