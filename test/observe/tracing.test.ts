// Traces, against a collector that is real but for keeping what it gets.

import { globSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';

const tenant = '11111111-1111-4111-8111-111111111111';
let database: TestDatabase;
let receiver: Receiver;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  receiver = await startReceiver();
  await database.query(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, retry_strategy, retry_delay_seconds)
     values ($1, 'traced', $2, '{clients.*}', 'linear', 1)`,
    [tenant, receiver.url('/traced?token=hidden')],
  );
});

beforeEach(() => receiver.clear());

afterAll(async () => {
  await receiver.close();
  await database.drop();
});

const insert = (count: number) =>
  database.query("insert into clients (organization_id, name) select $1, 'c' || n from generate_series(1, $2::int) n", [
    tenant,
    count,
  ]);

async function startDaemon(env: Record<string, string> = {}): Promise<DaemonProcess> {
  const daemon = startDaemonProcess(database.daemonUrl, env);
  onTestFinished(() => daemon.kill('SIGKILL'));
  await daemon.tookLanes();
  return daemon;
}

type Value = { stringValue?: string; intValue?: number };

interface Span {
  traceId: string;
  spanId: string;
  name: string;
  kind: number;
  status: { code: number };
  attributes: { key: string; value: Value }[];
}

/** OTLP over HTTP, in JSON. */
async function startCollector() {
  const spans: Span[] = [];
  const resources: Record<string, unknown>[] = [];
  const paths = new Set<string | undefined>();
  const server = createServer(async (request, response) => {
    const body = JSON.parse(Buffer.concat(await request.toArray()).toString());
    paths.add(request.url);
    for (const { resource, scopeSpans } of body.resourceSpans) {
      resources.push(attributesOf(resource));
      for (const scope of scopeSpans) spans.push(...scope.spans);
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as { port: number };
  return { spans, resources, paths, url: `http://127.0.0.1:${port}` };
}

function attributesOf({ attributes }: { attributes: { key: string; value: Value }[] }): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}

test('each attempt is a span, all attempts of a delivery are one trace, and the receiver gets its traceparent', async () => {
  const collector = await startCollector();
  receiver.respond('/traced', () => ({ status: receiver.requests.length === 1 ? 503 : 204 }));
  const daemon = await startDaemon({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
  });
  await insert(1);
  const requests = await receiver.waitFor(2);
  await daemon.kill('SIGTERM');

  expect([...collector.paths]).toEqual(['/v1/traces']);
  expect(collector.resources[0]).toMatchObject({
    'service.name': 'rowhook',
    'deployment.environment.name': 'test',
  });
  expect(collector.spans).toHaveLength(2);
  const { port } = new URL(receiver.url('/'));
  collector.spans.forEach((span, i) => {
    const { headers } = requests[i] as (typeof requests)[0];
    const deliveryId = headers['x-webhook-delivery'] as string;
    expect(span.traceId).toBe(deliveryId.replaceAll('-', ''));
    expect(headers.traceparent).toBe(`00-${span.traceId}-${span.spanId}-01`);
    expect(span).toMatchObject({ name: 'deliver clients.created', kind: 3, status: { code: i === 0 ? 2 : 0 } });
    expect(attributesOf(span)).toEqual({
      'http.request.method': 'POST',
      'http.request.body.size': expect.any(Number),
      'http.response.status_code': i === 0 ? 503 : 204,
      'network.peer.address': '127.0.0.1',
      'rowhook.delivery.id': deliveryId,
      'rowhook.event.id': headers['webhook-id'],
      'rowhook.event.type': 'clients.created',
      'server.address': '127.0.0.1',
      'server.port': Number(port),
      ...(i === 0 ? { 'error.type': 'http_error' } : {}),
    });
  });
  expect(JSON.stringify(collector.spans)).not.toContain('hidden');
});

test('a sampler is honoured: what is not exported still names its trace, unsampled', async () => {
  const collector = await startCollector();
  const daemon = await startDaemon({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0.5',
  });
  await insert(64);
  const requests = await receiver.waitFor(64);
  await daemon.kill('SIGTERM');
  const sampled = requests.filter(({ headers }) => /-01$/.test(String(headers.traceparent)));
  expect(
    requests.every(({ headers }) => /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/.test(String(headers.traceparent))),
  ).toBe(true);
  expect(collector.spans).toHaveLength(sampled.length);
  // of 64 coins, all the same: once in 10^19
  expect(sampled.length).toBeGreaterThan(0);
  expect(sampled.length).toBeLessThan(64);
});

test('a URL that is none fails its own deliveries, and no others', async () => {
  await database.query(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types)
     values ($1, 'no url', 'https://example.com:99999/', '{clients.*}')`,
    [tenant],
  );
  await startDaemon({ OTEL_EXPORTER_OTLP_ENDPOINT: (await startCollector()).url });
  await insert(1);
  await receiver.waitFor(1);
  const codes = () => database.query("select code from rowhook.webhook_logs where webhook_name = 'no url'");
  await waitUntil('its failure is logged', async () => (await codes()).length > 0);
  expect(await codes()).toEqual([{ code: 'address_refused' }]);
  await database.query("delete from rowhook.webhook_configurations where name = 'no url'");
});

test('a collector that is not there holds up no delivery', async () => {
  const daemon = await startDaemon({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
    OTEL_EXPORTER_OTLP_TIMEOUT: '100',
  });
  await insert(3);
  await receiver.waitFor(3);
  daemon.process.kill('SIGTERM');
  expect((await daemon.ended).code).toBe(0);
  expect(daemon.stdout()).toContain('"component":"opentelemetry"');
});

test('without an endpoint nothing is traced, and nothing of it is loaded', async () => {
  const daemon = await startDaemon();
  await insert(1);
  const [request] = await receiver.waitFor(1);
  expect(request?.headers.traceparent).toBeUndefined();
  await daemon.kill('SIGTERM');

  const root = join(import.meta.dirname, '../..');
  const sources = globSync('{src,bin}/**/*.ts', { cwd: root }).map((file) => readFileSync(join(root, file), 'utf8'));
  expect(sources.filter((text) => /from '\.\/otlp\.ts'/.test(text))).toEqual([]);
  expect(sources.filter((text) => /import\('\.\/otlp\.ts'\)/.test(text))).toHaveLength(1);
});
