// deploy/systemd: what systemd's own tools say of the unit, and what arrives at systemd's socket.

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createLogger } from '../../src/observe/log.ts';
import { tellSystemd } from '../../src/observe/systemd.ts';
import { startDaemonProcess } from '../support/daemon.ts';
import { createDatabase } from '../support/database.ts';
import { hasTool, runTool } from '../support/tool.ts';
import { waitUntil } from '../support/wait.ts';

const UNITS = ['rowhook', 'rowhook-api'];
const folder = join(import.meta.dirname, '../../deploy/systemd');
let scratch: string;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'rowhook-systemd-'));
});

afterAll(() => rm(scratch, { recursive: true }));

describe.skipIf(!hasTool('systemd-analyze', '--version')).each(UNITS)('the unit %s', (name) => {
  let unit: string;

  beforeAll(async () => {
    const text = await readFile(join(folder, `${name}.service`), 'utf8');
    unit = join(scratch, `${name}.service`);
    // verify looks whether the program is there: ours is where this test's is
    await writeFile(unit, text.replace('/usr/bin/node', process.execPath));
  });

  test('is what systemd understands', async () => {
    expect(await runTool('systemd-analyze', ['verify', '--man=no', unit])).toEqual({ code: 0, output: '' });
    const broken = join(scratch, 'broken.service');
    await writeFile(broken, (await readFile(unit, 'utf8')).replace('RestartSec=2', 'RestartSeconds=2'));
    expect((await runTool('systemd-analyze', ['verify', '--man=no', broken])).output).toContain('RestartSeconds');
  });

  test('is exposed by 2.0 at most', async () => {
    const { output } = await runTool('systemd-analyze', ['security', '--offline=true', '--no-pager', unit]);
    const exposure = Number(/Overall exposure level for [\w-]+\.service: ([\d.]+)/.exec(output)?.[1]);
    expect(exposure).toBeGreaterThan(0);
    expect(exposure).toBeLessThanOrEqual(2);
  });
});

test.each(['environment', 'environment-api'])('the file %s holds settings that there are', async (name) => {
  const lines = (await readFile(join(folder, name), 'utf8')).split('\n');
  const variables = lines.flatMap((line) => /^#?([A-Z_]+)=/.exec(line)?.[1] ?? []);
  const { SERVE_SETTINGS, SETTINGS } = await import('../../src/config/settings.ts');
  const table = name === 'environment' ? SETTINGS : SERVE_SETTINGS;
  const known = [...table.map(({ env }) => env), 'OTEL_EXPORTER_OTLP_ENDPOINT'];
  expect(variables).toContain('DATABASE_URL');
  expect(variables.filter((variable) => !known.includes(variable))).toEqual([]);
});

const canNotify = hasTool('systemd-notify', '--version') && hasTool('python3', '--version');

describe.skipIf(!canNotify)('notifications', () => {
  /** The other end: a unix datagram socket, as systemd's is. Python has those. */
  async function startSocket() {
    const path = join(scratch, `${Math.random()}.sock`);
    const program = [
      'import array, os, socket, sys',
      's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)',
      's.bind(sys.argv[1])',
      'print("bound", flush=True)',
      'while True:',
      '    data, ancillary, _, _ = s.recvmsg(4096, 1024)',
      // systemd-notify waits until the descriptor of its barrier is closed
      '    for _, _, fds in ancillary:',
      '        for fd in array.array("i", fds): os.close(fd)',
      '    print(data.decode().replace("\\n", " "), flush=True)',
    ].join('\n');
    const process = spawn('python3', ['-c', program, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => void process.kill());
    let received = '';
    process.stdout.setEncoding('utf8').on('data', (text: string) => {
      received += text;
    });
    await waitUntil('the socket is bound', () => received.startsWith('bound\n'));
    const messages = () =>
      received
        .split('\n')
        .slice(1, -1)
        .filter((message) => message !== 'BARRIER=1');
    return { path, messages };
  }

  test('a daemon says that it is ready, that it works, and that it stops', async () => {
    const [socket, database] = [await startSocket(), await createDatabase()];
    onTestFinished(() => database.drop());
    const daemon = startDaemonProcess(database.daemonUrl, { NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: '200000' });
    onTestFinished(() => daemon.kill('SIGKILL'));
    const count = (message: string) => socket.messages().filter((one) => one === message).length;
    await waitUntil('it has fed the watchdog thrice', () => count('WATCHDOG=1') >= 3);
    await daemon.kill('SIGTERM');
    expect(socket.messages()[0]).toBe('READY=1 STATUS=running');
    await waitUntil(
      'it said so',
      () => socket.messages().at(-1) === 'STOPPING=1 STATUS=waiting for attempts in flight',
    );
  });

  test('one through which nothing flows says so and feeds the watchdog no more, until it flows again', async () => {
    const socket = await startSocket();
    let problem: string | null = null;
    const env = { ...process.env, NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: '100000' };
    const serviceManager = tellSystemd(() => problem, createLogger('silent'), env);
    const fed = () => socket.messages().filter((message) => message.includes('WATCHDOG=1')).length;
    await waitUntil('it is fed', () => fed() > 0);
    problem = 'nothing flows';
    await waitUntil('it says so', () => socket.messages().includes('STATUS=nothing flows'));
    const before = fed();
    problem = null;
    await waitUntil('it is fed again', () => fed() > before);
    const [, after] = socket.messages().join('\n').split('STATUS=nothing flows\n');
    expect(after).toMatch(/^WATCHDOG=1 STATUS=running/);
    await serviceManager.stopping();
  });

  test('a socket that is not there is told once, and harms nothing', async () => {
    const database = await createDatabase();
    onTestFinished(() => database.drop());
    const env = { NOTIFY_SOCKET: join(scratch, 'nowhere.sock'), WATCHDOG_USEC: '100000' };
    const daemon = startDaemonProcess(database.daemonUrl, env);
    onTestFinished(() => daemon.kill('SIGKILL'));
    await daemon.tookLanes();
    const warnings = () => daemon.stdout().match(/systemd-notify failed/g)?.length ?? 0;
    await waitUntil('it is told', () => warnings() > 0);
    daemon.process.kill('SIGTERM');
    expect((await daemon.ended).code).toBe(0);
    expect(warnings()).toBe(1);
  });

  test("another process's watchdog is not fed", async () => {
    const socket = await startSocket();
    const env = { ...process.env, NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' };
    const serviceManager = tellSystemd(() => null, createLogger('silent'), env);
    await waitUntil('it is ready', () => socket.messages().length > 0);
    await serviceManager.stopping();
    await waitUntil('it stops', () => socket.messages().length > 1);
    expect(socket.messages()).toEqual(['READY=1 STATUS=running', 'STOPPING=1 STATUS=waiting for attempts in flight']);
  });
});
