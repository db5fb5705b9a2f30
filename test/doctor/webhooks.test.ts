// What the doctor says of webhooks that do not get their events, and that its remedies fix it.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { rowhook } from '../support/cli.ts';
import { caughtUp, startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let receiver: Receiver;
let daemon: Daemon;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  receiver = await startReceiver();
});

beforeEach(async () => {
  await database.query('delete from rowhook.webhook_configurations');
  receiver.clear();
});

afterAll(async () => {
  await receiver.close();
  await database.drop();
});

const cli = (...args: string[]) => rowhook(args, { env: { DATABASE_URL: database.url } });

async function warnings(): Promise<Record<string, string>[]> {
  const { stdout } = await cli('doctor', '--json');
  const results = stdout.split('\n').filter(Boolean);
  return results.map((line) => JSON.parse(line)).filter(({ check, kind }) => check === 'webhooks' && kind !== 'fine');
}

/** The commands of a remedy, run one after another; what they print. */
async function fix(remedy = ''): Promise<string> {
  const commands = [...remedy.matchAll(/rowhook ((?:logs|webhook|status|replay) [^;#\n]*)/g)].map(([, args = '']) =>
    args.trim(),
  );
  expect(commands).not.toEqual([]);
  const printed: string[] = [];
  for (const command of commands) {
    const { code, stdout, stderr } = await cli(...command.split(' '));
    expect({ command, code, stderr }).toEqual({ command, code: 0, stderr: '' });
    printed.push(stdout);
  }
  return printed.join('\n');
}

const webhook = async (tenant: string) =>
  (
    await createWebhook(database, {
      tenant_id: tenant,
      name: 'CRM',
      url: receiver.url('/in'),
      event_types: ['clients.*'],
    })
  ).id;
const write = (tenant: string) =>
  database.query("insert into clients (organization_id, name) values ($1, 'x')", [tenant]);
const fail = (id: string, since: string, openUntil: string) =>
  database.query(
    `insert into rowhook.webhook_health (webhook_id, lane, failures, failing_since, open_until, openings)
     select id, rowhook._lane(tenant_id), 12, now() - $2::interval, now() + $3::interval, 8
       from rowhook.webhook_configurations where id = $1`,
    [id, since, openUntil === '' ? null : openUntil],
  );

test('an open breaker: since when, and its remedy sends what waits at once', async () => {
  const tenant = randomUUID();
  const id = await webhook(tenant);
  await fail(id, '1 hour', '10 minutes');
  daemon = await startTestDaemon(database);
  try {
    await write(tenant);
    await waitUntil('its event is parked', async () => {
      return (await database.query('select from rowhook.webhook_deliveries where webhook_id = $1', [id])).length === 1;
    });
    const [found, ...others] = await warnings();
    expect(others).toEqual([]);
    expect(found?.what).toMatch(
      new RegExp(
        `^webhook ${id} \\(CRM, tenant ${tenant}\\) has an open breaker: 12 attempts have failed since 20.*Z, and`,
      ),
    );
    await fix(found?.fix);
    await receiver.waitFor(1);
    await waitUntil('it is well', async () => (await warnings()).length === 0);
  } finally {
    await daemon.stop();
  }
});

test('a webhook that rowhook disabled: why and when, and its remedy sends what it missed', async () => {
  const tenant = randomUUID();
  const id = await webhook(tenant);
  daemon = await startTestDaemon(database);
  try {
    await database.query("select rowhook._disable_webhook($1, 'the receiver answered 410 Gone')", [id]);
    await write(tenant);
    await caughtUp(database);
    const [found, ...others] = await warnings();
    expect(others).toEqual([]);
    expect(found?.what).toMatch(/ was disabled by rowhook at 20.*Z: the receiver answered 410 Gone$/);
    await fix(await fix(found?.fix));
    await receiver.waitFor(1);
    expect(await warnings()).toEqual([]);
  } finally {
    await daemon.stop();
  }
});

test('a webhook that fails all the time, and not one that began to fail just now or is off by hand', async () => {
  const [long, short, off] = [await webhook('acme'), await webhook('acme'), await webhook('acme')];
  await fail(long, '11 minutes', '');
  await fail(short, '9 minutes', '');
  await fail(off, '1 day', '');
  await database.query('update rowhook.webhook_configurations set is_active = false where id = $1', [off]);
  const found = await warnings();
  expect(found.map(({ what }) => what?.split(' ').slice(0, 2).join(' '))).toEqual([`webhook ${long}`]);
  expect(found[0]?.what).toContain('keeps failing');
  await fix(found[0]?.fix);
  expect(await warnings()).toEqual([]);
});

test('of 10,000 webhooks that fail there are a few lines, those that fail for longest first', async () => {
  await database.query('update rowhook.webhook_installation set max_webhooks = 10000');
  await database.query(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types)
     select 'acme', 'w' || n, 'https://x.example', '{*}' from generate_series(1, 10000) as n`,
  );
  await database.query(
    `insert into rowhook.webhook_health (webhook_id, lane, failures, failing_since, open_until)
     select id, 3, 12, now() - interval '1 hour' - substr(name, 2)::int * interval '1 s', now() + interval '1 minute'
       from rowhook.webhook_configurations`,
  );
  const found = await warnings();
  expect(found.map(({ what }) => /\((w\d+), /.exec(what ?? '')?.[1] ?? what)).toEqual([
    ...['w10000', 'w9999', 'w9998', 'w9997', 'w9996'],
    '9995 more webhooks have an open breaker',
  ]);
  expect(await fix(found.at(-1)?.fix)).toContain('10000 open');
});
