// A database under load, a receiver and daemons, to which a fault is done; and the account at the end: every row whose commit was
// acknowledged has arrived, nothing else has, few came twice, and nothing is left open.

import { readdir, readFile, readlink } from 'node:fs/promises';
import type { ProcessOptions } from './cli.ts';
import { type Counter, startCounter } from './counter.ts';
import { caughtUp, type DaemonProcess, startDaemonProcess } from './daemon.ts';
import type { TestDatabase } from './database.ts';
import { Load } from './load.ts';
import { waitUntil } from './wait.ts';
import { createWebhook } from './webhook.ts';

/** ROWHOOK_MAX_IN_FLIGHT of daemons in a scene: what one crash may repeat. */
export const MAX_IN_FLIGHT = 32;
/** So that some attempts are always in flight. */
const ANSWER_AFTER_MS = 25;
/** Connections of one working daemon: pool, reader, listener, watcher. */
const CONNECTIONS_MAX = 7;
/** After a fault, and with an hour's backlog on a busy machine. */
const SETTLE_MS = 120_000;

export interface SceneOptions {
  /** Columns of its webhooks, besides tenant and URL. */
  webhook?: Record<string, unknown>;
  /** Each with a webhook: acme, and as many more. */
  tenants?: number;
  writers?: number;
  pauseMs?: number;
  /** Wraps the receiver's address, to put a proxy before it. */
  via?(url: string): Promise<string>;
}

export interface Expected {
  /** Times that the state of a daemon was lost, each with at most MAX_IN_FLIGHT attempts in flight. */
  crashes: number;
  /** Times that connections to the receiver broke. A request on a reused one is then sent again within its attempt. */
  breaks?: number;
  /** Daemons that run now. */
  daemons?: number;
}

export interface Account {
  fault: string;
  acknowledged: number;
  rows: number;
  received: number;
  requests: number;
  lost: number[];
  unexpected: number[];
  twice: number;
  twiceMax: number;
  /** Event ids that came with more than one row. */
  reused: string[];
  /** From each healing to the first delivery of something new. */
  seconds: number[];
  /** What should have come to rest, or been closed. */
  leaks: string[];
}

export class Scene {
  readonly database: TestDatabase;
  readonly receiver: Counter;
  readonly load: Load;
  /** Ids of rows, as often as they came. */
  readonly arrived: Map<number, number>;
  /** Event ids that came with a second row, which receivers would skip. */
  readonly reused: Set<string>;
  /** From each healing to the first delivery of something new. */
  readonly seconds: number[] = [];
  readonly #daemons: DaemonProcess[] = [];

  private constructor(fields: Pick<Scene, 'database' | 'receiver' | 'load' | 'arrived' | 'reused'>) {
    [this.database, this.receiver, this.reused] = [fields.database, fields.receiver, fields.reused];
    [this.load, this.arrived] = [fields.load, fields.arrived];
  }

  static async start(database: TestDatabase, options: SceneOptions = {}): Promise<Scene> {
    const arrived = new Map<number, number>();
    const rowOf = new Map<string, number>();
    const reused = new Set<string>();
    const receiver = await startCounter({
      answerAfterMs: ANSWER_AFTER_MS,
      onRequest: (body) => {
        const { id: event, data } = JSON.parse(body.toString());
        arrived.set(data.id, (arrived.get(data.id) ?? 0) + 1);
        if ((rowOf.get(event) ?? data.id) !== data.id) reused.add(event);
        rowOf.set(event, data.id);
      },
    });
    const { tenants = 1 } = options;
    const url = options.via ? await options.via(receiver.url) : receiver.url;
    for (let tenant = 0; tenant < tenants; tenant++) {
      await createWebhook(database, {
        tenant_id: tenant === 0 ? 'acme' : `acme${tenant}`,
        url,
        max_in_flight: MAX_IN_FLIGHT,
        // a fault that looks like the receiver's is tried again soon, and often enough
        retry_strategy: 'linear',
        retry_delay_seconds: 1,
        retry_attempts: 20,
        ...options.webhook,
      });
    }
    const load = await Load.start(database, options);
    if (tenants > 1) {
      await database.query(
        `alter table items alter tenant_id set default concat('acme', nullif(floor(random() * ${tenants})::int, 0))`,
      );
    }
    return new Scene({ database, receiver, load, arrived, reused });
  }

  /** One more daemon, ended with the scene. */
  daemon(env: Record<string, string> = {}, options: Pick<ProcessOptions, 'through'> = {}): DaemonProcess {
    const settings = { ROWHOOK_MAX_IN_FLIGHT: String(MAX_IN_FLIGHT), ...env };
    const daemon = startDaemonProcess(this.database.daemonUrl, settings, options);
    this.#daemons.push(daemon);
    return daemon;
  }

  /** Waits for this many rows that have not come before, and returns the seconds that it took. */
  async newRows(count = 100, timeoutMs = SETTLE_MS): Promise<number> {
    const startedAt = performance.now();
    const wanted = this.arrived.size + count;
    await waitUntil(`${count} new rows have arrived`, () => this.arrived.size >= wanted, { timeoutMs, everyMs: 5 });
    return (performance.now() - startedAt) / 1_000;
  }

  /** The fault has ended: notes how long the first new row takes, and waits until deliveries flow. */
  async healed(timeoutMs?: number): Promise<number> {
    const seconds = await this.newRows(1, timeoutMs);
    this.seconds.push(seconds);
    await this.newRows(100, timeoutMs);
    return seconds;
  }

  /** Ends the load, waits until everything is settled, prints the account, and throws unless it balances. */
  async settle(fault: string, { crashes, breaks = 0, daemons = 1 }: Expected): Promise<Account> {
    const rows = await this.load.stop();
    const written = new Set(rows);
    const until = performance.now() + SETTLE_MS;
    const unsettled: string[] = [];
    const settled = async (
      what: string,
      wait: (options: { timeoutMs: number; everyMs: number }) => Promise<unknown>,
    ) => {
      const timeoutMs = Math.max(1_000, until - performance.now());
      await wait({ timeoutMs, everyMs: 100 }).catch(() => unsettled.push(what));
    };
    await settled('every row has arrived', (options) =>
      waitUntil('every row has arrived', () => rows.every((id) => this.arrived.has(id)), options),
    );
    await settled('the positions are past everything', (options) => caughtUp(this.database, options));
    await settled('no delivery waits', (options) =>
      waitUntil('no delivery waits', async () => (await this.#count(WAITING)) === 0, options),
    );
    const { requests } = this.receiver;
    const account: Account = {
      fault,
      acknowledged: this.load.acknowledged.length,
      rows: rows.length,
      received: this.arrived.size,
      requests,
      lost: [...new Set([...rows, ...this.load.acknowledged])].filter((id) => !this.arrived.has(id)),
      unexpected: [...this.arrived.keys()].filter((id) => !written.has(id)),
      twice: requests - this.arrived.size,
      // what failed may have been received, and is made again by contract
      twiceMax: (crashes + breaks) * MAX_IN_FLIGHT + (await this.#count(FAILED)),
      reused: [...this.reused],
      seconds: this.seconds,
      leaks: [...unsettled, ...(await this.#leaks(daemons))],
    };
    console.log(inWords(account));
    const problems = problemsOf(account);
    if (problems.length > 0) {
      const said = this.#daemons
        .flatMap(({ stdout }) => stdout().split('\n'))
        .filter((line) => !/"level":(10|20|30),/.test(line));
      throw new Error(
        `The account of "${fault}" does not balance: ${problems.join('; ')}. What the daemons said:\n${said.slice(-20).join('\n')}`,
      );
    }
    return account;
  }

  async close(): Promise<void> {
    await this.load.stop().catch(() => {});
    for (const daemon of this.#daemons) await daemon.kill('SIGKILL');
    await this.receiver.close();
  }

  async #count(sql: string): Promise<number> {
    const [row] = await this.database.query<{ count: number }>(sql);
    return row?.count ?? 0;
  }

  async #leaks(daemons: number): Promise<string[]> {
    const leaks: string[] = [];
    const tidy = (what: string, isTidy: () => Promise<boolean>) =>
      waitUntil(what, isTidy, { timeoutMs: 30_000, everyMs: 200 }).catch(() => leaks.push(what));
    await tidy('no transaction is open', async () => (await this.#count(OPEN_TRANSACTIONS)) === 0);
    await tidy(
      `at most ${daemons * CONNECTIONS_MAX} connections of ${daemons} daemons are open`,
      async () => (await this.#count(CONNECTIONS)) <= daemons * CONNECTIONS_MAX,
    );
    await tidy('nothing is prepared', async () => (await this.#count(PREPARED)) === 0);
    for (const daemon of this.#daemons.filter(
      ({ process }) => process.exitCode === null && process.signalCode === null,
    )) {
      // keep-alive sockets close after 4 s
      await tidy(`the daemon keeps at most ${CONNECTIONS_MAX} sockets`, async () => {
        const open = await tcpSocketsOf(daemon.pid);
        return open === undefined || open <= CONNECTIONS_MAX;
      });
    }
    return leaks;
  }
}

const OURS = "from pg_stat_activity where datname = current_database() and application_name like 'rowhook%'";
const CONNECTIONS = `select count(*)::int ${OURS}`;
const OPEN_TRANSACTIONS = `select count(*)::int ${OURS} and state like '%transaction%' and xact_start < now() - interval '1 s'`;
const PREPARED = 'select count(*)::int from pg_prepared_xacts where database = current_database()';
const WAITING = "select count(*)::int from rowhook.webhook_deliveries where state = 'waiting'";
const FAILED = "select count(*)::int from rowhook.webhook_logs where status = 'failed'";

/** What does not balance; nothing, if it does. */
export function problemsOf({ lost, unexpected, twice, twiceMax, reused, leaks }: Account): string[] {
  const some = (ids: readonly (number | string)[]) => `${ids.slice(0, 10).join(', ')}${ids.length > 10 ? ' …' : ''}`;
  return [
    ...(lost.length > 0 ? [`${lost.length} rows have not arrived (${some(lost)})`] : []),
    ...(unexpected.length > 0 ? [`${unexpected.length} rows arrived that nobody wrote (${some(unexpected)})`] : []),
    ...(twice > twiceMax ? [`${twice} came again, and at most ${twiceMax} may`] : []),
    ...(reused.length > 0 ? [`${reused.length} event ids came with two rows each (${some(reused)})`] : []),
    ...leaks.map((leak) => `not so: ${leak}`),
  ];
}

/** One line for people. */
export function inWords(account: Account): string {
  const { fault, acknowledged, rows, received, lost, unexpected, twice, twiceMax, seconds } = account;
  const first = seconds.length > 0 ? `, first delivery after ${seconds.map((s) => s.toFixed(1)).join(', ')} s` : '';
  return `${fault}: acknowledged ${acknowledged}, committed ${rows}, received ${received}, lost ${lost.length}, unexpected ${unexpected.length}, again ${twice} (at most ${twiceMax})${first}`;
}

/** TCP sockets of a process; undefined where the system does not tell. */
async function tcpSocketsOf(pid: number): Promise<number | undefined> {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8').catch(() => '')),
  );
  if (tables[0] === '') return undefined;
  const inodes = new Set(
    tables.flatMap((table) => table.split('\n').slice(1)).map((line) => line.trim().split(/\s+/)[9]),
  );
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const targets = await Promise.all(descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  return targets.filter((target) => inodes.has(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? '')).length;
}
