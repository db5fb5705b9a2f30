// The receivers of docs/use/receivers.md, run as they stand there, against what a daemon really delivers.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { signingKey, standardSignature } from '../../src/payload/signature.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type ReceivedRequest, type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/use/receivers.md'), 'utf8');

function snippet(name: string): string {
  const [, code] = new RegExp(`<!-- receiver: ${name} -->\\n\`\`\`\\w+\\n([\\s\\S]*?)\`\`\``).exec(page) ?? [];
  if (code === undefined) throw new Error(`docs/use/receivers.md has no receiver "${name}".`);
  return code;
}

/** A Rack server in ten lines, since Ruby brings none. */
const RACK = `require 'socket'
def run(app)
  server = TCPServer.new('127.0.0.1', ENV.fetch('PORT').to_i)
  loop do
    client = server.accept
    client.gets
    env = {}
    while (line = client.gets.chomp) != ''
      name, value = line.split(': ', 2)
      env["HTTP_#{name.upcase.tr('-', '_')}"] = value
    end
    env['rack.input'] = StringIO.new(client.read(env['HTTP_CONTENT_LENGTH'].to_i))
    status, = app.call(env)
    client.write("HTTP/1.1 #{status} x\\r\\ncontent-length: 0\\r\\nconnection: close\\r\\n\\r\\n")
    client.close
    $stdout.flush
  end
end
require 'stringio'
`;

interface Language {
  name: string;
  file: string;
  command: string[];
  before?: string;
}

const LANGUAGES: readonly Language[] = [
  { name: 'node', file: 'receiver.mjs', command: [process.execPath, 'receiver.mjs'] },
  { name: 'python', file: 'receiver.py', command: ['python3', 'receiver.py'] },
  { name: 'php', file: 'receiver.php', command: ['php', '-S', '127.0.0.1:PORT', 'receiver.php'] },
  { name: 'go', file: 'receiver.go', command: ['go', 'run', 'receiver.go'] },
  { name: 'ruby', file: 'receiver.rb', command: ['ruby', 'receiver.rb'], before: RACK },
];

/** The first two are always run, the others where the machine has the language. */
const isHere = ({ name, command: [program = ''] }: Language) =>
  ['node', 'python'].includes(name) || spawnSync('which', [program]).status === 0;

let database: TestDatabase;
let daemon: Daemon;
/** Keeps what a daemon sends, to be tampered with. */
let recorder: Receiver;

beforeAll(async () => {
  [database, recorder] = await Promise.all([createDatabase(), startReceiver()]);
  daemon = await startTestDaemon(database);
});

afterAll(async () => {
  await daemon.stop();
  await recorder.close();
  await database.drop();
});

describe.each(LANGUAGES.filter(isHere))('the receiver in $name', (language) => {
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr';
  let folder: string;
  let running: ChildProcess;
  let url: string;
  let printed = '';

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rowhook-receiver-'));
    await writeFile(join(folder, language.file), (language.before ?? '') + snippet(language.name));
    const port = await freePort();
    url = `http://127.0.0.1:${port}/`;
    const [program = '', ...args] = language.command.map((part) => part.replace('PORT', String(port)));
    const env = { PATH: process.env.PATH, HOME: process.env.HOME, WEBHOOK_SECRET: secret, PORT: String(port) };
    running = spawn(program, args, { cwd: folder, env, detached: true });
    for (const stream of [running.stdout, running.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        printed += text;
      });
    // Go compiles it first
    const listens = () => {
      if (running.exitCode !== null) throw new Error(`The receiver has ended: ${printed}`);
      return answers(url);
    };
    await waitUntil('it listens', listens, { timeoutMs: 120_000 });
  }, 130_000);

  afterAll(async () => {
    // its whole process group: "go run" has a child of its own
    if (running.pid !== undefined && running.exitCode === null) process.kill(-running.pid, 'SIGKILL');
    await rm(folder, { recursive: true });
  });

  test('takes what the daemon delivers, and prints it once, however often it comes', async () => {
    const tenant = randomUUID();
    const { id } = await createWebhook(database, { tenant_id: tenant, url, secret });
    await database.query(`select rowhook.emit('note.added', '{"text":"só 12345678901234567890 👋"}', $1)`, [tenant]);
    const logs = () =>
      database.query<{ delivery_id: string; response_status: number }>(
        'select delivery_id, response_status from rowhook.webhook_logs where webhook_id = $1 order by id',
        [id],
      );
    const [log] = await waitUntil('it is delivered', async () => ((await logs()).length === 1 ? logs() : undefined));
    expect(log?.response_status, printed).toBe(204);
    await waitUntil('it is printed', () => printed.includes('note.added'));

    await database.query('select rowhook.replay_delivery($1)', [log?.delivery_id]);
    await waitUntil('it is delivered again', async () => (await logs()).length === 2);
    expect((await logs()).map(({ response_status }) => response_status)).toEqual([204, 204]);
    if (language.name !== 'php') expect(printed.match(/note\.added/g)).toHaveLength(1);
  });

  test('refuses a request that was tampered with', async () => {
    const request = await recorded(secret);
    const {
      'webhook-id': id = '',
      'webhook-timestamp': time = '',
      'webhook-signature': signature = '',
    } = request.headers;
    const send = async (changed: Record<string, string>, body = request.body) => {
      const headers = { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': signature, ...changed };
      return (await fetch(url, { method: 'POST', headers, body: new Uint8Array(body) })).status;
    };
    const signed = (seconds: number) => ({
      'webhook-timestamp': String(seconds),
      'webhook-signature': standardSignature(signingKey(secret), id, seconds, request.body),
    });
    const now = Math.floor(Date.now() / 1000);

    expect(await send({})).toBe(204);
    expect(await send({ 'webhook-signature': `v1,AAAA ${signature}` })).toBe(204);
    expect(await send(signed(now - 200))).toBe(204);

    expect(await send({}, Buffer.from(request.body.toString().replace('secret plan', 'public plan')))).toBe(401);
    expect(await send({}, Buffer.concat([request.body, Buffer.from('\n')]))).toBe(401);
    expect(await send({ 'webhook-id': 'evt_other_1_0' })).toBe(401);
    expect(await send({ 'webhook-timestamp': String(Number(time) + 1) })).toBe(401);
    expect(await send(signed(now - 400))).toBe(401);
    expect(await send(signed(now + 400))).toBe(401);
    expect(await send({ 'webhook-timestamp': 'soon' })).toBe(401);
    expect(await send({ 'webhook-signature': '' })).toBe(401);
    expect(await send({ 'webhook-signature': signature.replace('v1,', '') })).toBe(401);
    expect(await send({ 'webhook-signature': signature.slice(0, -4) })).toBe(401);
    const [other] = (await recorded('another-secret-of-24-bytes')).headers['webhook-signature']?.split(' ') ?? [];
    expect(await send({ 'webhook-signature': other ?? '' })).toBe(401);
  });
});

test('while a secret is rotated, the old one still verifies what is sent', async () => {
  const tenant = randomUUID();
  const old = 'a-secret-of-24-bytes-ü-x';
  const { id } = await createWebhook(database, { tenant_id: tenant, url: recorder.url(`/${tenant}`), secret: old });
  await database.query('select rowhook.rotate_secret($1)', [id]);
  await database.query(`select rowhook.emit('note.added', '{}', $1)`, [tenant]);
  const [request] = await recorder.waitFor(({ path }) => path === `/${tenant}`);
  const { headers, body } = request as ReceivedRequest;
  const { 'webhook-id': event = '', 'webhook-timestamp': time = '', 'webhook-signature': signatures = '' } = headers;
  expect(signatures.split(' ')).toHaveLength(2);
  expect(signatures.split(' ')[1]).toBe(standardSignature(signingKey(old), event, time, body));
});

/** A request as a daemon sent it, signed with this secret. */
async function recorded(secret: string): Promise<ReceivedRequest> {
  const tenant = randomUUID();
  await createWebhook(database, { tenant_id: tenant, url: recorder.url(`/${tenant}`), secret });
  await database.query(`select rowhook.emit('note.added', '{"text":"secret plan"}', $1)`, [tenant]);
  const [request] = await recorder.waitFor(({ path }) => path === `/${tenant}`);
  return request as ReceivedRequest;
}

async function answers(url: string): Promise<boolean> {
  return fetch(url, { method: 'POST', body: '{}' }).then(
    ({ status }) => status === 401,
    () => false,
  );
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
      .once('error', reject)
      .listen(0, '127.0.0.1', () => {
        const address = server.address();
        server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
      });
  });
}
