import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Settings } from '../../src/config/settings.ts';
import { type Daemon, startDaemon } from '../../src/daemon/daemon.ts';
import { migrate } from '../../src/database/migrations.ts';
import { startEmbedded } from '../../src/demo/postgres.ts';
import { type Served, serve } from '../../src/observe/health-server.ts';
import { UserError } from '../../src/shared/user-error.ts';
import { daemonSettings } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { freePort } from '../support/port.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';

const WELL: Served = {
  healthProblem: () => null,
  readyProblem: () => null,
  metrics: async () => ({ contentType: 'text/plain', text: '' }),
};

let database: TestDatabase;
let receiver: Receiver;
/** Of the test that runs: one that fails leaves none to the next. */
const daemons: Daemon[] = [];

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  receiver = await startReceiver();
});

afterEach(async () => {
  await Promise.all(daemons.splice(0).map((daemon) => daemon.stop()));
});

afterAll(async () => {
  await receiver.close();
  await database.drop();
});

/** Takes any free port; unhealthy when nothing has flowed for `stuckMs`. */
async function start(more: Partial<Settings> = {}, stuckMs?: number): Promise<Daemon> {
  const settings = daemonSettings(database.daemonUrl, { httpPort: await freePort(), ...more });
  const daemon = await startDaemon(settings, undefined, stuckMs);
  daemons.push(daemon);
  return daemon;
}

async function get(port: number | null, path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return { status: response.status, text: await response.text() };
}

/** The value of a sample line, by everything before it. */
const sample = (text: string, name: string) =>
  Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.split(' ')
      .at(-1),
  );

test('a daemon is alive and ready, another one that comes is too, and each tells what it holds', async () => {
  const tenant = '11111111-1111-4111-8111-111111111111';
  await database.query(
    "insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ($1, 'all', $2, '{*}')",
    [tenant, receiver.url('/')],
  );
  const active = await start();
  await waitUntil('it is ready', async () => (await get(active.httpPort, '/readyz')).status === 200);
  await database.query("insert into clients (organization_id, name) select $1, n from unnest('{a,b,c}'::text[]) n", [
    tenant,
  ]);
  await receiver.waitFor(3);
  const delivered = 'rowhook_deliveries_total{outcome="success",code="delivered"}';
  await waitUntil(
    'three are counted',
    async () => sample((await get(active.httpPort, '/metrics')).text, delivered) === 3,
  );
  const { text } = await get(active.httpPort, '/metrics');
  expect(sample(text, 'rowhook_lanes_held')).toBe(16);
  expect(sample(text, 'rowhook_delivery_latency_seconds_count')).toBe(3);
  await waitUntil(
    'nothing is undelivered',
    async () => sample((await get(active.httpPort, '/metrics')).text, 'rowhook_oldest_undelivered_seconds') === 0,
  );
  expect(text).not.toContain(tenant);

  const other = await start();
  await waitUntil('the other one is ready, too', async () => (await get(other.httpPort, '/readyz')).status === 200);
  const lanesOf = async (port: number | null) => sample((await get(port, '/metrics')).text, 'rowhook_lanes_held');
  await waitUntil(
    'each has half of the lanes',
    async () => (await lanesOf(active.httpPort)) === 8 && (await lanesOf(other.httpPort)) === 8,
  );

  expect(await get(active.httpPort, '/healthz')).toEqual({ status: 200, text: 'ok\n' });
  expect(await get(active.httpPort, '/else')).toMatchObject({ status: 404 });
  await other.stop();
  await active.stop();
  await expect(get(active.httpPort, '/healthz')).rejects.toThrow();
});

test('while the database is away it is alive and not ready, and ready again when the database is back', async () => {
  const server = await startEmbedded({ settings: { fsync: 'off' } });
  try {
    const client = new pg.Client(server.url);
    await client.connect();
    await migrate(client);
    await client.end();
    const daemon = await startDaemon(daemonSettings(server.url, { httpPort: await freePort() }));
    await waitUntil('it is ready', async () => (await get(daemon.httpPort, '/readyz')).status === 200);
    await server.stop('immediate');
    const away = await waitUntil('it is not ready', async () => {
      const answer = await get(daemon.httpPort, '/readyz');
      return answer.status === 503 && answer;
    });
    // the last one is what a server says that is about to end
    expect(away.text).toMatch(/^database "postgres" at .* ((closed|refused) the connection|is not ready)\. .*\.\n$/);
    expect((await get(daemon.httpPort, '/healthz')).status).toBe(200);
    await server.start();
    await waitUntil('it is ready again', async () => (await get(daemon.httpPort, '/readyz')).status === 200);
    await daemon.stop();
  } finally {
    await server.stop('kill');
  }
});

test('it does not start where its port is taken, and says which setting to change', async () => {
  const first = await start();
  const second = start({ httpPort: Number(first.httpPort) });
  await expect(second).rejects.toThrow(
    new UserError(
      `ROWHOOK_HTTP_PORT: port ${first.httpPort} is in use. Stop the other process, set another port, or set 0 for no port.`,
    ),
  );
});

test('it listens on 127.0.0.1 alone, or where ROWHOOK_HTTP_HOST says', async () => {
  const outside = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
  const status = async (host: string, port: number) => (await fetch(`http://${host}:${port}/healthz`)).status;
  const own = await serve('127.0.0.1', 0, WELL);
  const everywhere = await serve('::', 0, WELL);
  try {
    expect(await status('127.0.0.1', own.port)).toBe(200);
    expect(await status('127.0.0.1', everywhere.port)).toBe(200);
    // another address of this machine, where it has one; 127.0.0.2 is one on Linux only
    for (const other of [outside, process.platform === 'linux' ? '127.0.0.2' : undefined].filter(
      (host) => host !== undefined,
    )) {
      await expect(status(other, own.port)).rejects.toThrow();
      expect(await status(other, everywhere.port)).toBe(200);
    }
  } finally {
    await Promise.all([own.close(), everywhere.close()]);
  }
  await expect(serve('192.0.2.1', 0, WELL)).rejects.toThrow(
    /^ROWHOOK_HTTP_HOST: "192\.0\.2\.1" is not an address of this machine/,
  );
});

test('it takes so many connections and no more, a probe gets in all the same, and a slow request ends', async () => {
  const server = await serve('127.0.0.1', 0, WELL, { connectionsMax: 5, requestMsMax: 300 });
  const sockets = Array.from({ length: 12 }, () => connect(server.port, '127.0.0.1'));
  const closed = sockets.map((socket) =>
    once(
      socket.on('error', () => {}),
      'close',
    ),
  );
  try {
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    await Promise.all(closed.slice(0, 7));
    expect(sockets.filter((socket) => !socket.destroyed)).toHaveLength(5);
    expect((await get(server.port, '/healthz')).status).toBe(200);
    // one that never ends its headers, one that never ends its body, and those that say nothing
    sockets[10]?.write('GET /healthz HTTP/1.1\r\nhost: x\r\nx: ');
    sockets[11]?.write('GET /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n1');
    for (const socket of sockets) socket.resume();
    await Promise.all(closed);
  } finally {
    for (const socket of sockets) socket.destroy();
    await server.close();
  }
});

/** A tenant with one webhook to the receiver, and the daemon that delivers to it, which thinks itself stuck after 1 s. */
async function deliveringTo(path: string, more: Partial<Settings> = {}) {
  const tenant = randomUUID();
  const [webhook] = await database.query<{ id: string }>(
    "insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ($1, $2, $3, '{*}') returning id",
    [tenant, path, receiver.url(path)],
  );
  const daemon = await start(more, 1_000);
  await waitUntil('it is ready', async () => (await get(daemon.httpPort, '/readyz')).status === 200);
  return {
    tenant,
    webhookId: webhook?.id as string,
    daemon,
    write: () => database.query("insert into clients (organization_id, name) values ($1, 'n')", [tenant]),
    /** Once both answer with this status: what they say. */
    both: (status: number) =>
      waitUntil(`both are ${status}`, async () => {
        const answers = await Promise.all(['/healthz', '/readyz'].map((path) => get(daemon.httpPort, path)));
        return answers.every((answer) => answer.status === status) && answers.map(({ text }) => text);
      }),
  };
}

test('it is neither alive nor ready while an undelivered event grows old and no position moves', async () => {
  const { daemon, write, both } = await deliveringTo('/stuck');
  const other = await start({}, 1_000);
  const owners = () => database.query('select distinct owner from rowhook.webhook_lanes where owner is not null');
  await waitUntil('they share the lanes', async () => (await owners()).length === 2);

  const blocker = new pg.Client(database.url);
  await blocker.connect();
  try {
    await blocker.query('begin; lock table rowhook.webhook_logs in access exclusive mode');
    await write();
    const healths = () => Promise.all([daemon, other].map(({ httpPort }) => get(httpPort, '/healthz')));
    const [why] = await waitUntil('the one that holds its lane is not, and the other one is', async () => {
      const all = await healths();
      const unhealthy = all.filter(({ status, text }) => status === 503 && text.startsWith('events are stuck'));
      return unhealthy.length === 1 && all.some(({ status }) => status === 200) && unhealthy;
    });
    expect(why?.text).toMatch(
      /^events are stuck: the oldest undelivered event is \d+ s old, and the positions of \d+ lanes do not move\n$/,
    );
    const oldest = async (port: number | null) =>
      sample((await get(port, '/metrics')).text, 'rowhook_oldest_undelivered_seconds');
    for (const { httpPort } of [daemon, other])
      await waitUntil('each tells its age', async () => (await oldest(httpPort)) > 1);
  } finally {
    // its transaction ends with it
    await blocker.end();
  }
  await both(200);
});

test.each([
  ['the database refuses to record', 'insert on rowhook.webhook_logs'],
  ['one session after the other fails', 'select on rowhook.webhook_configurations'],
])('nor while %s', async (_, privilege) => {
  const { write, both } = await deliveringTo('/failing');
  await database.query(`revoke ${privilege} from rowhook_daemon`);
  try {
    await write();
    expect((await both(503))[0]).toContain('events are stuck');
  } finally {
    await database.query(`grant ${privilege} to rowhook_daemon`);
  }
  await both(200);
});

test('it tells what is parked and its round trips, and names tenants and webhooks only when asked to', async () => {
  const { daemon, tenant, webhookId, write } = await deliveringTo('/refuses', { metricsLabels: 'webhook' });
  receiver.respond('/refuses', { status: 500 });
  await write();
  const failed = `rowhook_deliveries_total{outcome="failed",code="http_error",tenant="${tenant}",webhook="${webhookId}"}`;
  const scrape = async () => (await get(daemon.httpPort, '/metrics')).text;
  await waitUntil('the attempt is counted', async () => sample(await scrape(), failed) === 1);
  expect(sample(await scrape(), 'rowhook_database_round_trip_seconds_count')).toBeGreaterThan(0);
  await daemon.stop();

  const next = await start();
  const parked = (text: string, state: string) => sample(text, `rowhook_parked_deliveries{state="${state}"}`);
  const text = await waitUntil('the parked one is counted', async () => {
    const scraped = (await get(next.httpPort, '/metrics')).text;
    return parked(scraped, 'waiting') === 1 && scraped;
  });
  expect(parked(text, 'given_up')).toBe(0);
  expect(text).not.toContain(tenant);
  expect(text).not.toContain(webhookId);
});
