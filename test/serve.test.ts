import { createServer } from 'node:net';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startDaemon } from '../src/daemon.ts';
import { startEmbedded } from '../src/embedded.ts';
import { migrate } from '../src/migrate.ts';
import { daemonSettings, startTestDaemon } from './support/daemon.ts';
import { createDatabase, type TestDatabase } from './support/database.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { waitUntil } from './support/wait.ts';

let database: TestDatabase;
let receiver: Receiver;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  receiver = await startReceiver();
});

afterAll(async () => {
  await receiver.close();
  await database.drop();
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
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
  const active = await startTestDaemon(database, { httpPort: await freePort() });
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

  const other = await startTestDaemon(database, { httpPort: await freePort() });
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
    expect(away.text).toContain('the database does not answer');
    expect((await get(daemon.httpPort, '/healthz')).status).toBe(200);
    await server.start();
    await waitUntil('it is ready again', async () => (await get(daemon.httpPort, '/readyz')).status === 200);
    await daemon.stop();
  } finally {
    await server.stop('kill');
  }
});
