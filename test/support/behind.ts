// Tenants that have more to deliver than can be sent at once, so that they lag; and the account at the end: every change of every
// row has arrived, in the order of the row, and few came twice.

import type { TestContext } from 'vitest';
import { startCounter } from './counter.ts';
import { caughtUp, type DaemonProcess, startDaemonProcess } from './daemon.ts';
import type { TestDatabase } from './database.ts';
import { waitUntil } from './wait.ts';
import { createWebhook } from './webhook.ts';

/** ROWHOOK_MAX_IN_FLIGHT of the daemons, and the events of one batch: what one crash may repeat. */
const MAX_IN_FLIGHT = 32;
const BATCH_EVENTS = 20;
const REPEATED_MAX = MAX_IN_FLIGHT + BATCH_EVENTS - 1;

/** With 8 attempts at a time, 800 events take 4 s at least: positions are written every 2 s. */
const ANSWER_AFTER_MS = 40;
/** With what they have in their webhooks. Their names are hard to quote, or as long as names may be. */
const TENANTS: Record<string, Record<string, unknown>> = {
  NULL: {},
  'it\'s "odd", {a\\b} €\t\n%s $1': { ordering: 'row' },
  ['x'.repeat(512)]: { batch_max_events: BATCH_EVENTS, batch_max_wait_ms: 100 },
};
/** Never has more than a few events at once. */
const QUIET = 'quiet';

/** By row: the values that came, as often as they came. */
type Arrived = Map<number, number[]>;

/** Where the receiver notes what comes. */
interface Inbox {
  arrived: Arrived;
}

export class Behind {
  readonly database: TestDatabase;
  readonly #arrived: Arrived;
  readonly #inbox: Inbox;
  readonly #daemons: DaemonProcess[];
  #crashes: number;

  private constructor(
    database: TestDatabase,
    inbox: Inbox,
    before: { arrived: Arrived; daemons: DaemonProcess[]; crashes: number },
  ) {
    [this.database, this.#inbox] = [database, inbox];
    this.#arrived = new Map([...before.arrived].map(([id, values]) => [id, [...values]]));
    [this.#daemons, this.#crashes] = [before.daemons, before.crashes];
  }

  /** Each tenant has `rows` rows, and nobody has changed them. */
  static async start(
    database: TestDatabase,
    onTestFinished: TestContext['onTestFinished'],
    rows = 800,
  ): Promise<Behind> {
    const inbox: Inbox = { arrived: new Map() };
    const receiver = await startCounter({
      answerAfterMs: ANSWER_AFTER_MS,
      onRequest: (body) => {
        const request = JSON.parse(body.toString());
        for (const { data } of request.batch ?? [request]) {
          const values = inbox.arrived.get(data.id) ?? [];
          values.push(data.n);
          inbox.arrived.set(data.id, values);
        }
      },
    });
    const behind = new Behind(database, inbox, { arrived: new Map(), daemons: [], crashes: 0 });
    onTestFinished(async () => {
      for (const daemon of behind.#daemons) await daemon.kill('SIGKILL');
      await receiver.close();
    });
    await database.query(`
      create table counters (
        id int primary key generated always as identity,
        tenant_id text not null,
        n int not null default 0
      )`);
    await database.query(
      'insert into counters (tenant_id) select t from unnest($1::text[]) as t, generate_series(1, $2)',
      [Object.keys(TENANTS), rows],
    );
    await database.query('insert into counters (tenant_id) select $1 from generate_series(1, 3)', [QUIET]);
    await database.query("select rowhook.watch('counters')");
    for (const [tenant_id, columns] of Object.entries({ ...TENANTS, [QUIET]: {} }))
      await createWebhook(database, { tenant_id, url: receiver.url, ...columns });
    return behind;
  }

  /** The account of a copy of this database, which begins with what came from the original. */
  copy(database: TestDatabase): Behind {
    return new Behind(database, this.#inbox, {
      arrived: this.#arrived,
      daemons: this.#daemons,
      crashes: this.#crashes,
    });
  }

  /** Changes every row, those of all tenants in one statement. */
  changeAll(): Promise<unknown> {
    return this.database.query('update counters set n = n + 1');
  }

  /** Changes a few rows of each tenant. */
  changeSome(): Promise<unknown> {
    return this.database.query(
      'update counters set n = n + 1 where id in (select min(id) from counters group by tenant_id)',
    );
  }

  /** Kills of daemons that had lanes. */
  get crashes(): number {
    return this.#crashes;
  }

  /** One more daemon, ended with the test. */
  daemon(env: Record<string, string> = {}): DaemonProcess {
    this.#inbox.arrived = this.#arrived;
    const daemon = startDaemonProcess(this.database.daemonUrl, {
      ROWHOOK_MAX_IN_FLIGHT: String(MAX_IN_FLIGHT),
      ...env,
    });
    this.#daemons.push(daemon);
    return daemon;
  }

  /** kill -9. Its lanes are free at once, and not when its lease ends. */
  async kill(daemon: DaemonProcess): Promise<void> {
    await daemon.kill('SIGKILL');
    if (daemon.stdout().includes('"now delivering lanes ')) this.#crashes += 1;
    await this.database.query(
      `update rowhook.webhook_daemons set lease_expires_at = now() - interval '1 s' where name like '%:' || $1`,
      [String(daemon.pid)],
    );
  }

  /** Whether a lane has passed what one of its tenants has still to read, according to the tables. */
  async #doTenantsLag(): Promise<boolean> {
    const [row] = await this.database.query<{ behind: boolean }>(
      `select exists (select from rowhook.webhook_outbox o
                        join rowhook.webhook_lanes l using (lane)
                        join rowhook.webhook_lagging_tenants t on (t.lane, t.tenant_id) = (o.lane, o.tenant_id)
                       where pg_visible_in_snapshot(o.xid, l.from_snapshot)
                         and not pg_visible_in_snapshot(o.xid, t.from_snapshot)
                         and o.id > coalesce(t.done_id, 0)) as behind`,
    );
    return row?.behind === true;
  }

  /** Changes all rows again and again until somebody lags: on a busy machine one change may end in the table. */
  async tenantsLag(): Promise<void> {
    await waitUntil('tenants lag', () => this.keepThemLagging(), { timeoutMs: 120_000 });
  }

  /** Changes all rows again if nobody lags. Returns whether somebody does now: with a backlog in the table, nobody might. */
  async keepThemLagging(): Promise<boolean> {
    if (await this.#doTenantsLag()) return true;
    await this.changeAll();
    const isSo = waitUntil('tenants lag', () => this.#doTenantsLag(), { timeoutMs: 5_000 });
    return isSo.catch(() => false);
  }

  /** Leaves the database as a crash of its one daemon leaves it while tenants lag. */
  async dieWhileTenantsLag(): Promise<void> {
    const daemon = this.daemon();
    await daemon.tookLanes();
    await this.tenantsLag();
    await this.kill(daemon);
  }

  /** Waits until all is settled, prints the account, and throws unless it balances. */
  async settle(what: string): Promise<{ twice: number }> {
    await caughtUp(this.database, { timeoutMs: 180_000 });
    await waitUntil(
      'no delivery waits',
      async () => (await this.database.query('select from rowhook.webhook_deliveries limit 1')).length === 0,
      { timeoutMs: 120_000 },
    );
    const rows = await this.database.query<{ id: number; tenant_id: string; n: number }>('select * from counters');
    let [events, arrivals, twice] = [0, 0, 0];
    const problems: string[] = [];
    for (const { id, tenant_id, n } of rows) {
      const values = this.#arrived.get(id) ?? [];
      const first = [...new Set(values)];
      events += n;
      arrivals += values.length;
      twice += values.length - first.length;
      if (first.join() !== Array.from({ length: n }, (_, i) => i + 1).join())
        problems.push(`row ${id} of ${tenant_id.slice(0, 20)} got ${values}, and its value is ${n}`);
    }
    // on a machine that is too busy to renew a lease a session ends, and what was in flight is sent again
    const lost = this.#daemons.reduce((sum, { stdout }) => sum + stdout().split('the session ended').length - 1, 0);
    const twiceMax = (this.#crashes + lost) * REPEATED_MAX;
    console.log(
      `${what}: ${events} events, ${arrivals} arrivals, ${problems.length} rows with lost events or another order, ` +
        `${twice} again (at most ${twiceMax}: ${this.#crashes} kills, ${lost} sessions lost)`,
    );
    if (twice > twiceMax) problems.push(`${twice} came again, and at most ${twiceMax} may`);
    if (problems.length > 0)
      throw new Error(`${what}: ${problems.length} problems: ${problems.slice(0, 10).join('; ')}`);
    return { twice };
  }
}
