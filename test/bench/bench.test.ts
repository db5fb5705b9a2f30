// npm run bench measures on any machine, however slow. What the figures are is nobody's business here.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import type { Result } from './table.ts';

const program = join(import.meta.dirname, 'bench.ts');
const run = promisify(execFile);

test.runIf(process.platform === 'linux')('a short run brings every figure', { timeout: 600_000 }, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'rowhook-bench-test-'));
  const json = join(directory, 'figures.json');
  const names = 'drain,many,latency,capture,backlog,webhooks,filter,failing,idle';
  const { stdout } = await run(process.execPath, [program, '--scale', '0.005', '--only', names, '--json', json]);
  const { figures } = JSON.parse(await readFile(json, 'utf8')) as Result;
  expect(figures).toHaveLength(46);
  for (const { what, value, ratio } of figures) {
    expect({ what, value: Number.isFinite(value), ratio: Number.isFinite(ratio) }).toEqual({
      what,
      value: true,
      ratio: true,
    });
    expect(stdout).toContain(what);
  }
  await rm(directory, { recursive: true });
});

test.runIf(process.platform === 'linux')('others beside a busy neighbour', { timeout: 300_000 }, async () => {
  const { stdout } = await run(process.execPath, [
    ...[program, '--scale', '0.005', '--only', 'neighbours', '--match', 'one update'],
  ]);
  for (const what of ['others, p95', 'others, missing', '/healthz', 'memory of the daemon', 'time to drain'])
    expect(stdout).toMatch(new RegExp(`one update of 1,000 rows: ${what}.* \\| \\d`));
});

test.runIf(process.platform === 'linux')('the inbound endpoint', { timeout: 300_000 }, async () => {
  const { stdout } = await run(process.execPath, [program, '--scale', '0.005', '--only', 'inbound']);
  for (const what of ['without a webhook-id', 'with a webhook-id', 'p99 of an organization'])
    expect(stdout).toMatch(new RegExp(`inbound webhooks.* ${what}.* \\| \\d`));
});

test.runIf(process.platform === 'linux')('the API and templates', { timeout: 300_000 }, async () => {
  const { stdout } = await run(process.execPath, [program, '--scale', '0.005', '--only', 'api,templates']);
  for (const what of [
    ...['API: a page of 50', 'p99 of the daemon beside', 'at once, failed', 'a list of webhooks'],
    ...['p99 beside a template that never ends', 'drain of a plain webhook'],
  ])
    expect(stdout).toMatch(new RegExp(`${what}.* \\| \\d`));
});

test('wrong usage says what there is', async () => {
  await expect(run(process.execPath, [program, '--only', 'nothing'])).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining('There is no measurement nothing.'),
  });
});
