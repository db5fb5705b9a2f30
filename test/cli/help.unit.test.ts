// --help needs no database, so it loads no driver, no server and no logger. A command imports them in its action.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { rowhookProcess } from '../support/cli.ts';

/** One process prints the help of every command, and the packages that it has loaded by then. */
const DRIVER = `
import { registerHooks } from 'node:module';
const loaded = new Set();
registerHooks({
  load(url, context, next) {
    const name = /\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)\\/(?!.*\\/node_modules\\/)/.exec(url)?.[1];
    if (name) loaded.add(name);
    return next(url, context);
  },
});
const { main } = await import(process.env.PROGRAM);
const commandsIn = (help) => {
  const lists = help.split('\\nExamples:')[0].replace(/\\nArguments:\\n[\\s\\S]*?\\n\\n/, '\\n');
  return [...lists.matchAll(/^ {2}([a-z][a-z-]+)(?: [[<].*)?(?: {2,}|$)/gm)].map(([, name]) => name);
};
async function walk(command) {
  let help = '';
  const stdout = { on() {}, write: (text) => Boolean((help += text)) };
  await main([...command, '--help'], { stdout });
  process.stdout.write(JSON.stringify({ command: ['rowhook', ...command].join(' '), help, packages: [...loaded] }) + '\\n');
  for (const name of commandsIn(help)) await walk([...command, name]);
}
await walk([]);`;

interface Help {
  command: string;
  help: string;
  packages: string[];
}

const PROGRAM = pathToFileURL(join(import.meta.dirname, '../../src/cli/program.ts')).href;

test('--help of every command loads no package except commander', async ({ onTestFinished }) => {
  const folder = await mkdtemp(join(tmpdir(), 'rowhook-help-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const driver = join(folder, 'driver.mjs');
  await writeFile(driver, DRIVER);
  const { stdout } = await rowhookProcess([], { program: driver, env: { PROGRAM } });
  const helps = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Help);

  for (const { command, help, packages } of helps) {
    expect(help).toContain(`Usage: ${command}`);
    expect(help, command).toContain('Exit codes: ');
    expect(
      help.split('\n').filter((line) => line.length > 120),
      command,
    ).toEqual([]);
    expect({ command, packages }).toEqual({ command, packages: ['commander'] });
  }
  const commands = helps.map(({ command }) => command);
  expect(commands).toEqual(expect.arrayContaining(['rowhook start', 'rowhook webhook create', 'rowhook logs show']));
  expect(commands.length).toBeGreaterThan(25);
});
