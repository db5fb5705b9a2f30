// What the README and the pages of docs/ say is what the code says. `npm run docs` mends what is written from it.

import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { partOf, parts, readPage } from '../support/reference.ts';

const root = join(import.meta.dirname, '../..');
const pages = ['README.md', ...globSync(['docs/*.md', 'docs/*/*.md'], { cwd: root })].sort();

test('settings, commands and retry schedules are those of the code', async () => {
  for (const part of await parts()) expect(partOf(part), `${part.page}, ${part.name}: npm run docs`).toBe(part.text);
});

test('the codes of docs/use/deliveries.md are those of src/outcome.ts', () => {
  const [, union = ''] = /export type OutcomeCode =\n([\s\S]*?);/.exec(readPage('src/outcome.ts')) ?? [];
  const codes = [...union.matchAll(/'(\w+)'/g)].map(([, code]) => code);
  const [, chapter = ''] = /\n## Codes\n([\s\S]*?)\n## /.exec(readPage('docs/use/deliveries.md')) ?? [];
  expect(codes.length).toBeGreaterThan(10);
  expect([...chapter.matchAll(/^\| `(\w+)` \|/gm)].map(([, code]) => code)).toEqual(codes);
});

test.each(pages)('what %s links to is there', (page) => {
  const text = readPage(page);
  for (const [, target = ''] of text.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) {
    expect(() => readFileSync(join(root, dirname(page), target)), target).not.toThrow();
  }
});
