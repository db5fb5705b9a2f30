// Completion in the shells themselves.

import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rowhook } from '../support/cli.ts';

const run = promisify(execFile);
const has = (shell: string) => spawnSync(shell, ['-c', 'true']).status === 0;
const scripts: Record<string, string> = {};
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rowhook-completion-'));
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout } = await rowhook(['completion', shell]);
    expect(code).toBe(0);
    scripts[shell] = join(folder, `rowhook.${shell}`);
    await writeFile(scripts[shell], stdout);
  }
});

afterAll(() => rm(folder, { recursive: true }));

test.skipIf(!has('bash'))('bash offers the commands and flags that stand at the cursor', async () => {
  const offers = async (...words: string[]) => {
    const quoted = words.map((word) => `'${word}'`).join(' ');
    const { stdout } = await run('bash', [
      '-c',
      `source ${scripts.bash}; COMP_WORDS=(rowhook ${quoted}); COMP_CWORD=${words.length}; _rowhook; echo "\${COMPREPLY[@]}"`,
    ]);
    return stdout.trim().split(' ');
  };
  expect(await offers('st')).toEqual(['start', 'status']);
  expect(await offers('webhook', 'ro')).toEqual(['rotate-secret']);
  expect(await offers('webhook', 'create', '--tenant', 'acme', '--na')).toEqual(['--name']);
  expect(await offers('logs', '--fo')).toEqual(['--follow']);
  expect(await offers('logs', 'show', '--fo')).toEqual(['']);
});

test.skipIf(!has('fish'))('fish does (skipped where it is not installed)', async () => {
  const offers = async (line: string) => {
    const { stdout } = await run('fish', ['--no-config', '-c', `source ${scripts.fish}; complete -C '${line}'`], {
      env: { PATH: process.env.PATH, HOME: folder },
    });
    return stdout
      .trim()
      .split('\n')
      .map((offer) => offer.split('\t')[0]);
  };
  expect(await offers('rowhook st')).toEqual(['start', 'status']);
  expect(await offers('rowhook webhook ro')).toEqual(['rotate-secret']);
  expect(await offers('rowhook webhook create --tenant acme --na')).toEqual(['--name']);
  expect(await offers('rowhook logs show --fo')).toEqual(['']);
});

// a terminal of its own: zsh completes only what somebody types
const TYPE_IN_ZSH = `
zmodload zsh/zpty
zpty typed zsh -f -i
zpty -w typed "PS1=; cd $FOLDER; autoload -Uz compinit; compinit -u -D; source $SCRIPT; rowhook() { print -r -- RAN: \\$* :END }; print READ''Y"
zpty -r typed answer '*READY*'
zpty -w -n typed "$LINE"$'\\t'$'\\n'
zpty -r typed answer '*:END*'
print -r -- $answer
zpty -d typed
`;

test.skipIf(!has('zsh'))('zsh does (skipped where it is not installed)', async () => {
  const typed = async (line: string) => {
    const { stdout } = await run('zsh', ['-f', '-c', TYPE_IN_ZSH], {
      env: { PATH: process.env.PATH, HOME: folder, FOLDER: folder, SCRIPT: scripts.zsh, LINE: line, TERM: 'dumb' },
      timeout: 20_000,
    });
    return /RAN: (.*?) *:END/.exec(stdout)?.[1];
  };
  expect(await typed('rowhook webhook rot')).toBe('webhook rotate-secret');
  expect(await typed('rowhook logs --foll')).toBe('logs --follow');
});

test('a shell that is not known is told in one sentence', async () => {
  const { code, stderr } = await rowhook(['completion', 'tcsh']);
  expect(stderr).toBe('rowhook: shell: "tcsh" is not one of bash, zsh, fish.\n');
  expect(code).toBe(2);
});
