// The picture of the demo in README.md: what it prints of three of its statements.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { rowhookProcess } from '../support/cli.ts';
import { terminalSvg } from './terminal.ts';

const file = join(import.meta.dirname, '../../docs/demo.svg');
const linesShown = 14;

test('the demo on a terminal', async () => {
  const { code, stdout } = await rowhookProcess(['demo', '--once'], { env: { FORCE_COLOR: '1' } });
  expect(code).toBe(0);
  const lines = stdout.split('\n');
  const first = lines.findIndex((line) => stripVTControlCharacters(line).startsWith('-- One change can make'));
  const shown = ['$ npm run demo', '', ...lines.slice(first, first + linesShown)];
  expect(shown.join('\n')).toContain('signatures ok');
  await writeFile(file, terminalSvg(shown, 'The demo writes rows with SQL, and shows each webhook as it arrives.'));
});
