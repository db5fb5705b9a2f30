// What the command line says of what was sent, and what it sends again, with a daemon and a receiver.

import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { missedSince } from '../../src/operations/history/missed.ts';
import type { WebhookRow } from '../../src/operations/webhooks/webhooks.ts';
import { type CliResult, rowhook, startRowhook } from '../support/cli.ts';
import { caughtUp, startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { paste } from '../support/paste.ts';
import { freePort } from '../support/port.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook, type TestWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let receiver: Receiver;
let daemon: Daemon | undefined;
let tenant: string;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  await database.query("select rowhook.watch('notes', prefix => 'notes', capture => 'all', max_payload_bytes => 2048)");
});

// One daemon serves all tests. What it still sends for an earlier test finds no receiver.
beforeEach(async () => {
  tenant = randomUUID();
  receiver = await startReceiver();
  daemon ??= await startTestDaemon(database);
});

afterEach(async () => {
  await database.query('delete from rowhook.webhook_configurations');
  await receiver.close();
});

afterAll(async () => {
  await daemon?.stop();
  await database.drop();
});

const cli = (...args: string[]): Promise<CliResult> => rowhook(args, { env: { DATABASE_URL: database.url } });

async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout, stderr } = await cli(...args, '--json');
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

async function stopDaemon(): Promise<void> {
  await daemon?.stop();
  daemon = undefined;
}

const webhook = (columns: Record<string, unknown> = {}): Promise<TestWebhook> =>
  createWebhook(database, {
    tenant_id: tenant,
    url: receiver.url('/in'),
    name: 'CRM',
    retry_enabled: false,
    ...columns,
  });

const note = (body: string, of = tenant) =>
  database.query('insert into notes (organization_id, body) values ($1, $2)', [of, body]);

const logs = (id: string) =>
  database.query<{ id: string; delivery_id: string; event_id: string; status: string }>(
    'select id, delivery_id, event_id, status from rowhook.webhook_logs where webhook_id = $1 order by id',
    [id],
  );

const logged = (id: string, count: number) =>
  waitUntil(`${count} attempts are logged`, async () => {
    const rows = await logs(id);
    return rows.length >= count ? rows : undefined;
  });

describe('logs show', () => {
  test('shows the request as it was sent, after everything about the webhook has changed, and the response', async () => {
    await database.query("insert into rowhook.webhook_tenants (id, name, slug) values ($1, 'Ängström', 'a')", [tenant]);
    receiver.respond('/in', { status: 503, headers: { 'x-served-by': 'me' }, body: 'busy\u001b[31m' });
    const { id } = await webhook({
      name: 'CRM \u2028 "x"',
      http_method: 'PUT',
      payload_format: 'flat',
      auth_type: 'bearer',
      auth_config: { token: 'hunter2hunter2' },
      headers: { 'X-Team': 'sales', 'X-Api-Key': 'hunter3' },
    });
    await note("it's \u001b[31m 12345678901234567890 é");
    const [log] = await logged(id, 1);
    await database.query(
      `update rowhook.webhook_configurations set name = 'new', url = 'https://example.com', http_method = 'POST', payload_format = 'nested', headers = '{}'`,
    );
    await database.query("update rowhook.webhook_tenants set name = 'new'");
    const [request] = receiver.requests;

    const raw = await cli('logs', 'show', log?.id ?? '', '--body');
    expect(raw.stdout).toBe(request?.body.toString());

    const shown = await cli('logs', 'show', log?.id ?? '');
    expect(shown.stdout).toContain(`\nPUT ${receiver.url('/in')}\n`);
    expect(shown.stdout).toContain('\nauthorization: ••••••\n');
    expect(shown.stdout).toContain('\nX-Team: sales\n');
    expect(shown.stdout).toContain(`\nwebhook-id: ${request?.headers['webhook-id']}\n`);
    expect(shown.stdout).toContain('byte for byte: its signature matches');
    expect(shown.stdout).toMatch(/\nResponse 503\n(.*\n)*x-served-by: me\n/);
    expect(shown.stdout).toContain('\nbusy\\x1b[31m\n');
    expect(shown.stdout).toContain('| curl -i -X PUT');
    expect(shown.stdout).not.toContain('\u001b');
    expect(shown.stdout).not.toMatch(/hunter/);

    const row = await json('logs', 'show', log?.id ?? '');
    expect(row).toMatchObject({ request_body: request?.body.toString(), request_body_verified: true });
  });

  test('its curl sends the same request again, without the secrets', async () => {
    const { id } = await webhook({
      auth_type: 'api_key',
      auth_config: { header_name: 'X-Key', header_value: 'hunter2' },
    });
    await note("it's a note");
    const [log] = await logged(id, 1);
    const curl = String((await json('logs', 'show', log?.id ?? '')).curl);
    await promisify(execFile)('sh', ['-c', curl]);
    const [first, second] = receiver.requests;
    expect(second?.body).toEqual(first?.body);
    expect(second?.headers['x-webhook-signature']).toBe(first?.headers['x-webhook-signature']);
    expect(first?.headers['x-key']).toBe('hunter2');
    expect(curl).not.toContain('hunter2');
  });

  test('shows a batch whole', async () => {
    const { id } = await webhook({ batch_max_events: 3, batch_max_wait_ms: 100 });
    await database.query(
      'insert into notes (organization_id, body) select $1, n::text from generate_series(1, 3) as n',
      [tenant],
    );
    const [, log] = await logged(id, 3);
    const row = await json('logs', 'show', log?.id ?? '');
    expect(row).toMatchObject({
      request_body: receiver.requests[0]?.body.toString(),
      request_body_verified: true,
    });
  });

  test('shows a parked delivery whose outbox slot was recycled, and says when an event is gone', async () => {
    receiver.respond('/in', { status: 500 });
    const { id } = await webhook({ retry_enabled: true });
    const gone = await webhook({ url: receiver.url('/gone') });
    await note('kept');
    const [log] = await logged(id, 1);
    const [lost] = await logged(gone.id, 1);
    await caughtUp(database);
    await database.query('delete from rowhook.webhook_deliveries where webhook_id = $1', [gone.id]);
    await database.query(
      `update rowhook.webhook_deliveries d set data = o.data, previous = o.previous, has_payload = true
         from rowhook.webhook_outbox o where o.id = d.outbox_id and d.webhook_id = $1`,
      [id],
    );
    await database.query('delete from rowhook.webhook_outbox where tenant_id = $1', [tenant]);
    expect((await json('logs', 'show', log?.id ?? '')).request_body).toBe(
      receiver.requestsTo('/in')[0]?.body.toString(),
    );
    expect((await cli('logs', 'show', lost?.id ?? '')).stdout).toMatch(
      /No request body: event evt_\S+ is no longer in the outbox, which keeps events for 7 days\.\n/,
    );
    expect(await cli('logs', 'show', lost?.id ?? '', '--body')).toMatchObject({ code: 1, stdout: '' });
  });

  test('says what there is not', async () => {
    expect(await cli('logs', 'show', '999999999')).toMatchObject({
      code: 1,
      stderr: 'rowhook: log 999999999 does not exist. "rowhook logs" shows the log numbers.\n',
    });
    expect((await cli('logs', 'show', 'x')).code).toBe(2);
  });
});

test('logs of a misspelt event type name the near one, also before --follow waits', async ({ onTestFinished }) => {
  const NONE = 'No attempts: nothing was sent yet, or no attempt matches the flags.\n';
  const of = async (event: string) => (await cli('logs', '--tenant', tenant, '--event', event)).stdout;
  expect(await of('note.creatd')).toBe(
    `${NONE}Note: no watched table produces "note.creatd". Did you mean notes.created?\n`,
  );
  expect(await of('deals.*')).toBe(`${NONE}Note: no watched table produces "deals.*". Did you mean deal.*?\n`);
  expect(await of('payment.received')).toBe(`${NONE}Note: no watched table produces "payment.received".\n`);
  for (const known of ['deal.*', '*.created', 'd*d', 'webhook.test']) expect(await of(known)).toBe(NONE);

  const followed = startRowhook(['logs', '--follow', '--event', 'deal.wn.*'], {
    env: { DATABASE_URL: database.url },
  });
  onTestFinished(() => void followed.process.kill());
  await waitUntil('it says so', async () => followed.stdout() === 'Note: no watched table produces "deal.wn.*".\n');
});

describe('webhook explain', () => {
  const explain = async (id: string, event: string) => (await cli('webhook', 'explain', id, event)).stdout;

  async function outboxId(): Promise<string> {
    const [row] = await database.query<{ id: string }>(
      "select max(id)::text as id from rowhook.webhook_outbox where tenant_id = $1 and event_types <> '{}'",
      [tenant],
    );
    return row?.id ?? '';
  }

  test('says that an event is sent, and what became of it', async () => {
    const { id } = await webhook();
    await note('a');
    const [log] = await logged(id, 1);
    const event = log?.event_id ?? '';
    expect(await explain(id, event)).toMatch(
      new RegExp(`^notes.created ${event} wanted: yes\n {2}state: success, delivered, last attempt \\S+Z\n$`),
    );
    expect(await json('webhook', 'explain', id, event)).toMatchObject({
      event_id: event,
      sent: true,
      because: null,
      delivery_id: log?.delivery_id,
      happened: { status: 'success' },
    });
  });

  test('names the condition that stops it, event by event', async () => {
    const { id } = await webhook({ event_types: ['deal.stage.*'], filter: { 'data.value': { $gt: 100 } } });
    await database.query("insert into deals (organization_id, title, stage, value) values ($1, 'x', 'new', 5)", [
      tenant,
    ]);
    await database.query("update deals set stage = 'won' where organization_id = $1", [tenant]);
    await caughtUp(database);
    const lines = (await explain(id, await outboxId())).split('\n');
    expect(lines).toContainEqual(
      expect.stringMatching(
        /^deal\.stage\.changed evt_\S+ wanted: no, (filter: )?"data.value" \$gt 100 does not hold$/,
      ),
    );
    expect(lines).toContainEqual(
      expect.stringMatching(
        /^deal\.updated evt_\S+ wanted: no, its event types \(deal\.stage\.\*\) do not include it$/,
      ),
    );
  });

  test('names another tenant, a webhook that is off or disabled, a row that was too large, and another’s test', async () => {
    const { id } = await webhook();
    const other = await createWebhook(database, { tenant_id: randomUUID(), url: receiver.url('/other') });
    const filtered = await webhook({ filter: { 'data.body': 'x' }, url: receiver.url('/filtered') });
    await note('x'.repeat(5000));
    await caughtUp(database);
    const event = await outboxId();
    expect(await explain(other.id, event)).toContain('wanted: no, it belongs to another tenant');
    expect(await explain(filtered.id, event)).toContain(
      `wanted: no, the event has only the key columns of its row, but the filter needs more for "data.body" $eq "x".`,
    );
    expect(await explain(id, event)).toContain('wanted: yes\n  state: success, delivered');

    await database.query('update rowhook.webhook_configurations set is_active = false where id = $1', [id]);
    expect(await explain(id, event)).toContain('wanted: no, the webhook is switched off');
    await database.query(
      "update rowhook.webhook_configurations set disabled_at = now(), disabled_reason = 'gone' where id = $1",
      [id],
    );
    expect(await explain(id, event)).toContain('wanted: no, the webhook is disabled: gone');

    await database.query('select rowhook.test($1)', [filtered.id]);
    expect(await explain(id, await outboxId())).toContain('wanted: no, it is a test of another webhook');
  });

  test('a filter on a thin event: what its key columns answer is sent or passed over, explained and replayed alike', async () => {
    const answers = {
      sent: { 'data.id': { $exists: true } },
      'passed over': { 'data.body': 'x', 'data.id': 'another' },
      unknown: { 'data.id': { $exists: true }, 'data.body': 'x' },
    };
    const ids: Record<string, string> = {};
    for (const [name, filter] of Object.entries(answers)) ids[name] = (await webhook({ name, filter })).id;
    const happened = () =>
      database.query(
        `select webhook_name as name, status, code, error from rowhook.webhook_logs
          where webhook_id = any ($1::uuid[]) order by webhook_name, id`,
        [Object.values(ids)],
      );
    const why = expect.stringMatching(
      /^the event has only the key columns .* the filter needs more for "data.body" \$eq "x"\. Raise /,
    );
    const sent = { name: 'sent', status: 'success', code: 'delivered', error: null };
    const unknown = { name: 'unknown', status: 'skipped', code: 'filter_failed', error: why };

    await note('x'.repeat(5000));
    await caughtUp(database);
    await waitUntil('two are logged', async () => (await happened()).length >= 2);
    expect(await happened()).toEqual([sent, unknown]);
    expect(JSON.parse(receiver.requests[0]?.body.toString() ?? '')).toMatchObject({ truncated: true });

    const event = await outboxId();
    const [is, isNot, isUnknown] = await Promise.all(Object.values(ids).map((id) => explain(id, event)));
    expect(is).toContain('wanted: yes\n  state: success, delivered');
    expect(isNot).toContain('wanted: no, "data.id" $eq "another" does not hold');
    expect(isUnknown).toContain(`wanted: no, ${(await happened())[1]?.error}`);

    for (const id of Object.values(ids))
      await database.query("select rowhook.replay($1, now() - interval '1 hour', null, 'all')", [id]);
    await waitUntil('the replay is done', async () => {
      const waiting = await database.query(
        'select from rowhook.webhook_deliveries where webhook_id = any ($1::uuid[])',
        [Object.values(ids)],
      );
      return waiting.length === 0 && (await happened()).length >= 4;
    });
    expect(await happened()).toEqual([sent, sent, unknown, unknown]);
  });

  test('says what there is not', async () => {
    const { id } = await webhook();
    expect(await cli('webhook', 'explain', id, '999999999')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('rowhook: event 999999999 is not in the outbox: it is older than 7 days'),
    });
    expect(await cli('webhook', 'explain', id, 'evt_zzzzzzzz_1_0')).toMatchObject({ code: 1 });
    expect(await cli('webhook', 'explain', id, 'nope')).toMatchObject({ code: 2 });
  });
});

describe('replay', () => {
  test('counts, sends and waits, one line whenever the rest has changed', async () => {
    await database.query(
      'insert into notes (organization_id, body) select $1, n::text from generate_series(1, 20) as n',
      [tenant],
    );
    receiver.respond('/in', ({ body }) => ({
      status: JSON.parse(body.toString()).data.body === '7' ? 500 : 200,
      delayMs: 100,
    }));
    await caughtUp(database);
    const { id } = await webhook({ max_in_flight: 4 });
    await caughtUp(database);
    const range = ['replay', id, '--since', '1h', '--only', 'missed'];
    expect((await cli(...range, '--dry-run')).stdout).toMatch(/Z\.\nWould send 20 events\. Nothing was queued\.\n$/);
    expect(await json(...range, '--dry-run')).toMatchObject({ webhook_id: id, would_replay: 20 });
    const replayed = await cli(...range, '--wait');
    expect(replayed.stdout).toMatch(
      /^Events from \S+Z until \S+Z\.\nQueued 20 events again\. New events are sent first\.\n(\d+ left\n)+0 left\nThe attempt failed for 1 of them\. "rowhook deliveries --webhook /,
    );
    expect(receiver.requests).toHaveLength(20);
    expect((await cli('replay', id, '--since', '1h')).stdout).toMatch(/\nQueued 1 event again/);
    expect((await cli(...range)).stdout).toMatch(/\nNothing to replay: no event of this time range was missed\.\n/);
  });

  test('leaves out what waits for its next attempt, says so, and names the command that sends it', async () => {
    receiver.respond('/in', { status: 503 });
    const { id } = await webhook({ retry_enabled: true, retry_strategy: 'linear', retry_delay_seconds: 3_600 });
    await note('waits');
    await logged(id, 1);
    await waitUntil('it waits for its next attempt', async () => (await cli('deliveries')).stdout.includes('waiting'));

    // an attempt fails, a delivery is given up, and until then it waits
    expect((await cli('logs', '--status', 'failed', '--webhook', id)).stdout).toContain('http_error');
    expect((await cli('deliveries', '--webhook', id, '--state', 'given_up')).stdout).toContain('No unfinished');
    await caughtUp(database);
    expect(await json('status')).toMatchObject({ waiting: 1, given_up: 0, oldest_undelivered_seconds: null });
    await stopDaemon();
    daemon = await startTestDaemon(database, { httpPort: await freePort() });
    await waitUntil('the metric has been read', async () => {
      const metrics = await (await fetch(`http://127.0.0.1:${daemon?.httpPort}/metrics`)).text();
      return /^rowhook_oldest_undelivered_seconds 0$/m.test(metrics);
    });

    const range = ['replay', id, '--since', '1h', '--only'];
    const { stdout } = await cli(...range, 'given_up');
    expect(stdout).toContain('Nothing to replay: no delivery of this time range was given up.\n');
    expect(stdout).toMatch(
      /\n1 delivery is left out, because the next attempt needs no replay\. The next one is due at 20/,
    );
    receiver.respond('/in', { status: 200 });
    await note('delivered');
    await receiver.waitFor(({ body }) => body.includes('delivered'));
    await caughtUp(database);
    const all = (await cli(...range, 'all')).stdout;
    expect(all).toMatch(/\nQueued 1 event again\. .*\n1 delivery is left out, /);
    expect(await json(...range, 'all', '--dry-run')).toMatchObject({ waiting: 1 });
    const [, list = '', now = ''] = /rowhook (deliveries .*)\n.*rowhook (replay --delivery .*)$/m.exec(stdout) ?? [];
    expect((await cli(...list.split(' '))).stdout).toContain(now.split(' ').at(-1));
    expect((await cli(...now.split(' '))).code).toBe(0);
    await receiver.waitFor(({ body }) => body.includes('waits'), { count: 2 });
  });

  test('of what was missed: names the command for what was given up', async () => {
    receiver.respond('/in', { status: 503 });
    const { id } = await webhook();
    await note('a');
    await waitUntil('it is given up', async () => (await cli('deliveries')).stdout.includes('given up'));
    await caughtUp(database);
    const { stdout } = await cli('replay', id, '--since', '1h', '--only', 'missed');
    const command = /\n1 delivery was given up\. To send it: rowhook (replay .*)\n/.exec(stdout)?.[1] ?? '';
    receiver.respond('/in', { status: 200 });
    expect((await cli(...command.split(' '))).stdout).toContain('Queued 1 event again');
    await receiver.waitFor(2);
  });

  test('of one delivery sends it again', async () => {
    const { id } = await webhook();
    await note('a');
    const [log] = await logged(id, 1);
    expect((await cli('replay', '--delivery', log?.delivery_id ?? '')).stdout).toMatch(/^Queued delivery \S+ again/);
    await receiver.waitFor(2);
  });

  test('says what holds it up: a webhook that is off, or no daemon', async () => {
    await note('a');
    await caughtUp(database);
    const { id } = await webhook({ is_active: false });
    await caughtUp(database);
    expect((await cli('replay', id, '--since', '1h', '--only', 'all', '--dry-run')).stdout).toContain(
      `\nThe webhook is switched off. Nothing is sent to it until you run "rowhook webhook enable ${id}".\n`,
    );
    const range = ['replay', id, '--since', '1h', '--only', 'all', '--wait'];
    const off = await cli(...range);
    expect(off.stderr).toBe(
      `rowhook: webhook ${id} is switched off: 1 event will wait until you run "rowhook webhook enable ${id}".\n`,
    );
    await paste(/"(.*)"/.exec(off.stderr)?.[1] ?? '', database);
    await receiver.waitFor(1);
    await logged(id, 1);
    await stopDaemon();
    expect((await cli(...range)).stderr).toBe(
      'rowhook: no daemon is running: 1 event will wait until you run "rowhook start".\n',
    );
    daemon = await startTestDaemon(database);
    await logged(id, 2);
  });

  test.each([
    [['replay']],
    [['replay', randomUUID()]],
    [['replay', randomUUID(), '--since', '1h', '--delivery', randomUUID()]],
  ])('%j is wrong usage', async (args) => {
    expect(await cli(...args)).toMatchObject({
      code: 2,
      stderr: "rowhook: replay: give a webhook's id and --since, or give --delivery.\n",
    });
  });
});

describe('a webhook that is switched off by hand', () => {
  const off = 'update rowhook.webhook_configurations set is_active = false where id = $1';
  const missed = async (id: string, lost = '') => {
    const { stdout } = await cli('webhook', 'enable', id);
    expect(stdout).toContain(
      'While it was switched off or in the hour before, it missed 1 event that it now wants and that the outbox still holds (it keeps 7 days).',
    );
    expect(stdout.includes('were not captured for it')).toBe(lost !== '');
    return / rowhook (replay .*)$/m.exec(stdout)?.[1]?.split(' ') ?? [];
  };

  test.each(['rowhook webhook disable', 'SQL'])(
    'by %s: enable prints the command that sends what it missed',
    async (by) => {
      const { id } = await webhook({ event_types: ['clients.created'] });
      await caughtUp(database);
      if (by === 'SQL') await database.query(off, [id]);
      else expect((await cli('webhook', 'disable', id)).stdout).toContain(`"rowhook webhook enable ${id}"`);
      await database.query("insert into clients (organization_id, name) values ($1, 'meanwhile')", [tenant]);
      await caughtUp(database);
      expect(receiver.requests).toHaveLength(0);
      expect((await cli(...(await missed(id)))).stdout).toContain('\nQueued 1 event again');
      await receiver.waitFor(1);
      expect(JSON.parse(receiver.requests[0]?.body.toString() ?? '').data.name).toBe('meanwhile');
    },
  );

  test('also what came just before it was enabled, and from a transaction that was open when it was disabled', async () => {
    const columns = { event_types: ['clients.created'] };
    const { id } = await webhook(columns);
    await webhook({ ...columns, url: receiver.url('/other') });
    await database.query(
      "update rowhook.webhook_configurations set created_at = now() - interval '1 day' where id = $1",
      [id],
    );
    await caughtUp(database);
    const write = 'insert into clients (organization_id, name) values ($1, $2)';
    const long = await database.pool.connect();
    const client = new pg.Client(database.url);
    try {
      await client.connect();
      await long.query('begin');
      await long.query(write, [tenant, 'long']);
      await long.query(
        "update rowhook.webhook_outbox set occurred_at = occurred_at - interval '10 minutes' where tenant_id = $1 and event_types <> '{}'",
        [tenant],
      );
      await database.query(off, [id]);
      await caughtUp(database);
      await long.query('commit');
      await database.query(write, [tenant, 'late']);
      // it was read just now, and no position says so
      await receiver.waitFor(({ path }) => path === '/other', { count: 2 });
      const [was] = await database.query<WebhookRow>('select * from rowhook.webhook_configurations where id = $1', [
        id,
      ]);
      await database.query('update rowhook.webhook_configurations set is_active = true where id = $1', [id]);
      const found = await missedSince(client, was as WebhookRow, was?.disabled_at as Date);
      expect(found).toMatchObject({ missed: 2, given_up: 0 });
      await database.query(`select rowhook.replay($1, $2, "only" => 'missed')`, [id, found.missed_since]);
    } finally {
      long.release();
      await client.end();
    }
    await receiver.waitFor(({ path }) => path === '/in', { count: 2 });
    await caughtUp(database);
    expect(receiver.requestsTo('/in').map(({ body }) => JSON.parse(body.toString()).data.name)).toEqual([
      'long',
      'late',
    ]);
  });

  test('created so, then off for more than 30 days: enable says what was lost', async () => {
    const { id } = await webhook({ event_types: ['clients.created'], is_active: false });
    const write = () => database.query("insert into clients (organization_id, name) values ($1, 'x')", [tenant]);
    await write();
    await database.query(
      "update rowhook.webhook_configurations set disabled_at = now() - interval '31 days' where id = $1",
      [id],
    );
    await write();
    await caughtUp(database);
    await cli(...(await missed(id, 'lost')));
    await receiver.waitFor(1);
  });
});

describe('a webhook that rowhook disabled', () => {
  test('tells the others, skips what it wants, and says what it missed when it is enabled', async () => {
    const { id } = await webhook({ event_types: ['notes.*'] });
    const watcher = await webhook({ url: receiver.url('/watcher'), event_types: ['webhook.disabled'] });
    const stranger = await createWebhook(database, {
      tenant_id: randomUUID(),
      url: receiver.url('/stranger'),
      event_types: ['webhook.disabled'],
    });
    receiver.respond('/in', { status: 410 });
    await note('first');
    await receiver.waitFor(({ path }) => path === '/watcher');
    const told = JSON.parse(receiver.requestsTo('/watcher')[0]?.body.toString() ?? '');
    expect(told).toMatchObject({
      event: 'webhook.disabled',
      data: { id, name: 'CRM', reason: 'the receiver answered 410 Gone' },
      metadata: { webhook_id: watcher.id },
    });
    await note('second');
    await note('third');
    await waitUntil(
      'both are skipped',
      async () => (await logs(id)).filter(({ status }) => status === 'skipped').length === 2,
    );

    receiver.respond('/in', { status: 200 });
    const enabled = await cli('webhook', 'enable', id);
    expect(enabled.stdout).toContain(
      'While it was switched off or in the hour before, it missed 2 events that it now wants and that the outbox still holds (it keeps 7 days).\n',
    );
    const commands = [...enabled.stdout.matchAll(/: rowhook (replay .*)\n/g)].map(([, command]) => command ?? '');
    expect(commands.map((command) => /--only (\w+)/.exec(command)?.[1])).toEqual(['missed', 'given_up']);
    for (const command of commands) expect((await cli(...command.split(' '))).code).toBe(0);
    await receiver.waitFor(({ path }) => path === '/in', { count: 4 });
    const texts = receiver.requestsTo('/in').map(({ body }) => JSON.parse(body.toString()).data.body);
    expect(texts.sort()).toEqual(['first', 'first', 'second', 'third']);
    expect(await logs(stranger.id)).toEqual([]);
  });
});

describe('webhook test', () => {
  test('sends a sample of each event it wants, marked, also while it is off, and prints the responses', async () => {
    const { id } = await webhook({
      event_types: ['deal.stage.*', 'app.event'],
      is_active: false,
      filter: { 'data.stage': 'x' },
    });
    receiver.respond('/in', ({ headers }) =>
      headers['x-webhook-event'] === 'app.event' ? { status: 418, body: 'a teapot' } : { body: 'fine' },
    );
    await waitUntil('the daemon owns lanes', async () => {
      return (await database.query('select from rowhook.webhook_lane_owners limit 1')).length > 0;
    });
    const tested = await cli('webhook', 'test', id);
    expect(tested.code).toBe(1);
    expect(tested.stdout).toMatch(/^deal\.stage\.changed {2}success {2}200 {2}delivered {2}\d+ ms\nfine$/m);
    expect(tested.stdout).toMatch(/^app\.event {2}failed {2}418 {2}http_error {2}\d+ ms$/m);
    expect(tested.stdout).toContain('\na teapot\n');
    const bodies = receiver.requests.map(({ body }) => JSON.parse(body.toString()));
    expect(bodies.map(({ event, test: mark }) => [event, mark]).sort()).toEqual([
      ['app.event', true],
      ['deal.stage.changed', true],
    ]);
    expect(bodies.find(({ event }) => event === 'deal.stage.changed').data).toMatchObject({ title: 'sample' });
    expect((await logs(id)).map(({ status }) => status).sort()).toEqual(['failed', 'success']);

    receiver.respond('/in', { status: 418 });
    const both = (await cli('webhook', 'test', id)).stdout;
    expect(both.match(/^\S+ {2}failed {2}418 /gm)).toHaveLength(2);
    expect(both.match(/^the receiver answered 418/gm)).toHaveLength(1);

    receiver.respond('/in', { status: 204 });
    expect((await cli('webhook', 'test', id)).code).toBe(0);
  });
});

test('what was wanted and not sent is told with its reason', async () => {
  const { id } = await webhook({ url: 'http://169.254.169.254/latest' });
  await note('a');
  await logged(id, 1);
  const { stdout } = await cli('logs', '--webhook', id);
  expect(stdout).toMatch(/ address_refused .*169\.254\.169\.254/);
});

describe('webhook_stats', () => {
  test('counts attempts and durations by webhook and hour, and shows a tenant its own', async () => {
    const { id } = await webhook();
    const times = [10, 20, 30, 40, 1000];
    await database.query(
      `insert into rowhook.webhook_logs (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, request_url, duration_ms, lane)
       select date_trunc('hour', now(), 'UTC') + interval '1 minute', $1::text, $2::uuid, gen_random_uuid(), 'evt_x_1_0', 'a.b', 1,
              case when ms > 500 then 'failed' else 'success' end, 'x', 'https://x', ms, 0 from unnest($3::int[]) as ms
       union all
       select date_trunc('hour', now(), 'UTC') + interval '1 minute', $1::text, $2::uuid, gen_random_uuid(), 'evt_x_1_0', 'a.b', 0, 'skipped', 'x', 'https://x', 0, 0`,
      [tenant, id, times],
    );
    const client = await database.pool.connect();
    try {
      const as = async (of: string) => {
        await client.query('begin');
        await client.query('set local role rowhook_app');
        await client.query("select set_config('rowhook.tenant_id', $1, true)", [of]);
        const { rows } = await client.query('select * from rowhook.webhook_stats');
        await client.query('rollback');
        return rows;
      };
      expect(await as(tenant)).toMatchObject([
        {
          tenant_id: tenant,
          webhook_id: id,
          attempts: '5',
          successes: '4',
          failures: '1',
          skipped: '1',
          p50_duration_ms: 30,
          p95_duration_ms: 808,
        },
      ]);
      expect(await as('another')).toEqual([]);
      expect(await as('')).toEqual([]);
    } finally {
      client.release();
    }
  });
});
