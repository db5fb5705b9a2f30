// `rowhook start` limits its heap by itself.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const program = join(import.meta.dirname, '../../bin/rowhook.ts');
/** Each Node that starts prints its flags and its number of process. */
const TELL = 'data:text/javascript,console.log(JSON.stringify([process.pid,...process.execArgv]))';

/** The flags of each program that ran in the process. The settings are wrong, so that the last one ends. */
function programsOf(command: string, flags: string[] = [], env: NodeJS.ProcessEnv = {}): Promise<string[][]> {
  const args = ['--import', TELL, ...flags, program, command, '--max-in-flight', 'many'];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env: { PATH: process.env.PATH, ...env } }, (_, stdout) =>
      resolve(
        stdout
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line)),
      ),
    );
  });
}

const limits = ['--max-semi-space-size=16', '--max-old-space-size=1024'];

test.skipIf(process.platform === 'win32')('the process replaces itself by one with limits, once', async () => {
  const [plain, limited, ...more] = await programsOf('start');
  expect(plain).not.toContain(limits[0]);
  expect(limited).toEqual([plain?.[0], ...limits, ...(plain?.slice(1) ?? [])]);
  expect(more).toEqual([]);
});

test.each([
  ['a flag', ['--max-old-space-size=3000'], {}],
  ['NODE_OPTIONS', [], { NODE_OPTIONS: '--max-semi-space-size=32' }],
  ['a heap that is small already', [], { NODE_OPTIONS: '--max-heap-size=500' }],
] as const)('%s stays as it is', async (_, flags, env) => {
  expect(await programsOf('start', [...flags], env)).toHaveLength(1);
});

test('other commands keep the limits of Node', async () => {
  expect(await programsOf('status')).toHaveLength(1);
});
