// What a person sees: a terminal of 60 columns, made by script(1) of util-linux.

import { execFile, spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify, stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { progressText } from '../../src/cli/inspect/replay.ts';
import { rowhook, rowhookProcess } from '../support/cli.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const run = promisify(execFile);
const hasTerminal = spawnSync('script', ['-qec', 'true', '/dev/null']).status === 0;
const program = join(import.meta.dirname, '../../bin/rowhook.ts');
const TENANT = '11111111-1111-4111-8111-111111111111';
const ESCAPE = '\u001b';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  const { id } = await createWebhook(database, { tenant_id: 'acme', url: `https://example.com/${'x'.repeat(80)}` });
  await database.query(
    `insert into rowhook.webhook_deliveries (delivery_id, webhook_id, outbox_id, occurred_at, attempt, lane, ordinal, state, tenant_id, event_id, event_type, last_code, organization, webhook_name)
     values (gen_random_uuid(), $1, 1, now(), 8, 3, 0, 'given_up', 'acme', 'evt_x_1_0', 'deal.updated', 'timeout', '{}', 'CRM')`,
    [id],
  );
});

afterAll(() => database.drop());

async function onTerminal(command: string, env: Record<string, string> = {}): Promise<string> {
  const { stdout } = await run(
    'script',
    ['-qec', `stty cols 60; '${process.execPath}' '${program}' ${command}`, '/dev/null'],
    { env: { PATH: process.env.PATH, TERM: 'xterm', DATABASE_URL: database.url, ...env } },
  );
  return stdout.replaceAll('\r\n', '\n');
}

describe.skipIf(!hasTerminal)('on a terminal (skipped where there is no script(1))', () => {
  test.each(['sources', 'webhook list', 'status', 'deliveries'])('%s fits, in colour', async (command) => {
    const seen = await onTerminal(command);
    expect(seen).toContain(ESCAPE);
    const lines = stripVTControlCharacters(seen).split('\n');
    expect(lines.length).toBeGreaterThan(3);
    // a value that is printed beside its name is not cut
    for (const line of lines.filter((text) => !/^(url|database) /.test(text))) {
      expect(line.length, line).toBeLessThanOrEqual(60);
    }
  });

  test('NO_COLOR is obeyed', async () => {
    expect(await onTerminal('sources', { NO_COLOR: '1' })).not.toContain(ESCAPE);
  });

  test('logs has a header, and the ids that other commands take', async () => {
    await database.query(
      `insert into rowhook.webhook_logs (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, request_url, response_status, duration_ms, lane)
       values (now(), 'acme', gen_random_uuid(), gen_random_uuid(), 'evt_x_1_0', 'deal.updated', 1, 'success', 'delivered', 'https://example.com', 200, 12, 3)`,
    );
    const [header = '', first = ''] = stripVTControlCharacters(await onTerminal('logs')).split('\n');
    expect(header).toMatch(/^ +log {2}time +result +code +took {2}try {2}event +event id +tenant +webhook$/);
    for (const [title, value] of [
      ['result', 'success'],
      ['event id', 'evt_x_1_0'],
      ['event', 'deal.updated'],
    ] as const) {
      expect(first.indexOf(value), title).toBe(header.indexOf(title));
    }
    const { stdout } = await rowhook(['logs'], { env: { DATABASE_URL: database.url } });
    expect(stdout).toContain('evt_x_1_0');
    expect(stdout).not.toContain('event id');
  });

  test('start says what there is to do, logs for people, and stops with Ctrl-C', async () => {
    const command = `stty cols 60; exec '${process.execPath}' '${program}' start`;
    const env = { PATH: process.env.PATH, TERM: 'xterm', DATABASE_URL: database.url, ROWHOOK_HTTP_PORT: '0' };
    const started = spawn('script', ['-qec', command, '/dev/null'], { env });
    let seen = '';
    started.stdout.setEncoding('utf8').on('data', (text: string) => {
      seen += stripVTControlCharacters(text).replaceAll('\r\n', '\n');
    });
    const ended = new Promise<number | null>((resolve) => started.once('exit', resolve));
    try {
      await waitUntil('it delivers, and has said so', () => /delivering lanes/.test(seen) && /Ctrl-C/.test(seen));
      expect(seen).toMatch(/^\d\d:\d\d:\d\d {2}rowhook started {2}wake=notify max_in_flight=256$/m);
      expect(seen).toMatch(/^\d\d:\d\d:\d\d {2}now delivering lanes 0-15 {2}lanes=16 held=16$/m);
      expect(seen).toMatch(/^\d+ active webhooks?, 5 watched tables\. Stop with Ctrl-C\.$/m);
      expect(seen).not.toContain('{"level"');
    } finally {
      started.stdin.write('\u0003');
    }
    expect(await ended).toBe(0);
    expect(seen).toMatch(/^\d\d:\d\d:\d\d {2}rowhook stopped/m);
  });

  test('replay --wait counts on one line', async () => {
    const receiver = await startReceiver();
    const daemon = await startTestDaemon(database);
    try {
      await database.query(
        'insert into notes (organization_id, body) select $1, n::text from generate_series(1, 20) as n',
        [TENANT],
      );
      const early = await createWebhook(database, { tenant_id: TENANT, url: receiver.url('/'), max_in_flight: 2 });
      await database.query('insert into notes (organization_id, body) select $1, $2', [TENANT, 'seen']);
      await receiver.waitFor(1);
      receiver.respond('/', { delayMs: 100 });
      const seen = await onTerminal(`replay ${early.id} --since 1h --only all --wait`);
      expect(seen).toContain(`\r${ESCAPE}[Kqueueing …`);
      expect(seen).toMatch(/Queued 1 event again\. New events are sent first\.\n/);
      expect(seen).toMatch(/of 1 \(\d+ %\)/);
      expect(seen).toMatch(/All of them were delivered\.\n/);
    } finally {
      await daemon.stop();
      await receiver.close();
    }
  });
});

test('nothing is coloured or cut where there is no terminal', async () => {
  for (const command of [['sources'], ['webhook', 'list'], ['status'], ['doctor']]) {
    const run = command[0] === 'sources' ? rowhookProcess : rowhook;
    const { stdout } = await run(command, { env: { DATABASE_URL: database.url } });
    expect(stdout).not.toContain(ESCAPE);
    expect(stdout).not.toContain('…\n');
  }
});

test('progress is a share, and an estimate once there is one', () => {
  expect(progressText(200, 200, 3)).toBe('0 of 200 (0 %)');
  expect(progressText(200, 150, 10)).toBe('50 of 200 (25 %), about 30 s left');
  expect(progressText(200, 0, 10)).toBe('200 of 200 (100 %)');
  expect(progressText(200, 300, 10)).toBe('0 of 200 (0 %)');
});
