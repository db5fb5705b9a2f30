// Names that are not found, that come slowly, that come and go, or whose server says nothing: they cost nobody else anything.

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, type TestContext, test } from 'vitest';
import { startDaemonProcess } from '../support/daemon.ts';
import { createDatabase } from '../support/database.ts';
import { type Answer, startDnsServer } from '../support/dns-server.ts';
import { startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('Skipped: a DNS server of our own on port 53 in place of the system needs root.');

/** Names that begin with these, in the domain .test: how they are answered, given how often they were asked for. */
const names: Record<string, (times: number) => Answer> = {
  good: () => ({ ip: '127.0.0.1' }),
  slow: () => ({ ip: '127.0.0.1', afterMs: 1_500 }),
  // glibc asks for A and AAAA at once: both of one attempt fail, both of the next are answered
  flapping: (times) => (times % 4 < 2 ? { error: 'SERVFAIL' } : { ip: '127.0.0.1' }),
  missing: () => ({ error: 'NXDOMAIN' }),
  silent: () => undefined,
};

async function startScene(onTestFinished: TestContext['onTestFinished']) {
  const times = new Map<string, number>();
  const dns = await startDnsServer((name) => {
    const count = times.get(name) ?? 0;
    times.set(name, count + 1);
    return names[/^[a-z]+/.exec(name)?.[0] ?? '']?.(count);
  });
  onTestFinished(() => dns.close());
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const receiver = await startReceiver();
  onTestFinished(() => receiver.close());
  // so that each request needs a connection, and each connection an address
  receiver.respond('*', { headers: { connection: 'close' } });
  const webhook = (tenantId: string, name: string) =>
    createWebhook(database, {
      tenant_id: tenantId,
      url: `http://${name}.test:${receiver.port}/${tenantId}`,
      retry_strategy: 'linear',
      retry_delay_seconds: 1,
      retry_attempts: 20,
    });
  const emit = (tenantId: string, n: number) =>
    database.query("select rowhook.emit('a.b', to_json($2::int), $1)", [tenantId, n]);
  const start = async () => {
    const daemon = startDaemonProcess(database.daemonUrl, {}, { through: dns.through });
    onTestFinished(() => daemon.kill('SIGKILL'));
    await daemon.tookLanes();
    return daemon;
  };
  return { dns, database, receiver, webhook, emit, start };
}

describe.runIf(isRoot)('a name', () => {
  test('that is slow, or flapping, is delivered to all the same; one that is missing is a failed attempt', async ({
    onTestFinished,
  }) => {
    const { database, receiver, webhook, emit, start } = await startScene(onTestFinished);
    for (const tenant of ['slow', 'flapping', 'missing']) await webhook(tenant, tenant);
    await start();
    const events = 5;
    for (const tenant of ['slow', 'flapping', 'missing']) for (let n = 0; n < events; n++) await emit(tenant, n);
    await waitUntil('both got theirs', () => receiver.requests.length >= 2 * events, { timeoutMs: 120_000 });
    const ids = new Set(receiver.requests.map(({ headers }) => headers['webhook-id']));
    expect(receiver.requestsTo('/missing')).toEqual([]);
    const logs = await waitUntil('its attempts are logged', async () => {
      const rows = await database.query<{ code: string; error: string }>(
        "select code, error from rowhook.webhook_logs where tenant_id = 'missing'",
      );
      return rows.length >= events && rows;
    });
    expect(new Set(logs.map(({ code }) => code))).toEqual(new Set(['dns_failed']));
    console.log(
      `slow and flapping names: ${ids.size} of ${2 * events} events received, ${receiver.requests.length} requests`,
    );
    expect(ids.size).toBe(2 * events);
    expect(receiver.requests.length).toBe(2 * events);
  });

  test('whose server is silent does not starve the others, not even 200 of them', async ({ onTestFinished }) => {
    const { database, receiver, webhook, emit, start } = await startScene(onTestFinished);
    const silent = 200;
    for (let n = 0; n < silent; n++) await webhook('bad', `silent${n}`);
    await webhook('acme', 'good');
    await start();
    const waits: number[] = [];
    const measure = async (count: number) => {
      const before = receiver.requests.length;
      for (let n = 0; n < count; n++) {
        const startedAt = performance.now();
        await emit('acme', n);
        await receiver.waitFor(before + n + 1, { timeoutMs: 120_000 });
        waits.push(performance.now() - startedAt);
        await sleep(100);
      }
    };
    await measure(20);
    const alone = Math.max(...waits.splice(0));
    const failures = async () => {
      const [row] = await database.query<{ failed: number }>(
        "select count(*)::int as failed from rowhook.webhook_logs where tenant_id = 'bad' and status = 'failed'",
      );
      return row?.failed ?? 0;
    };
    // again and again they all want an address at once, until each has failed twice
    let failed = 0;
    for (let round = 0; failed < 2 * silent; round++) {
      await emit('bad', round);
      await measure(20);
      failed = await failures();
    }
    const beside = Math.max(...waits);
    console.log(
      `${silent} silent names (${failed} failed attempts meanwhile): an event for a good one takes at most ${alone.toFixed(0)} ms alone, ${beside.toFixed(0)} beside them`,
    );
    // an attempt has 10 s
    expect(beside).toBeLessThan(5_000);
  });
});
