// What the README and the pages of docs/ say is what the code says. `npm run docs` mends what is written from it.

import { existsSync, globSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { partOf, parts, readPage } from '../support/reference.ts';

const root = join(import.meta.dirname, '../..');
const pages = globSync(['*.md', 'docs/**/*.md'], { cwd: root }).sort();

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

/** As GitHub makes them, and docs/.vitepress/config.ts for the site. */
function anchorsOf(text: string): Set<string> {
  const seen = new Map<string, number>();
  const headings = text.replaceAll(/^```[\s\S]*?^```$/gm, '').matchAll(/^#{1,6} (.+)$/gm);
  const anchors = [...headings].map(([, heading = '']) => {
    const words = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const slug = words.replaceAll(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(/\s/g, '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return count === 0 ? slug : `${slug}-${count}`;
  });
  return new Set(anchors);
}

test.each(pages)('what %s links to is there, with its heading', (page) => {
  const dead: string[] = [];
  for (const [, target = ''] of readPage(page).matchAll(/\]\((?![a-z]+:)([^)\s]+)\)/g)) {
    const [path = '', anchor] = target.split('#');
    const file = path === '' ? page : join(dirname(page), path);
    if (!existsSync(join(root, file))) dead.push(target);
    else if (anchor !== undefined && !anchorsOf(readPage(file)).has(anchor)) dead.push(target);
  }
  expect(dead).toEqual([]);
});

test('CONTRIBUTING.md names every dependency with its reason', () => {
  const { dependencies, devDependencies } = JSON.parse(readPage('package.json'));
  const [, chapter = ''] = /\n## Dependencies\n([\s\S]*)/.exec(readPage('CONTRIBUTING.md')) ?? [];
  const named = [...chapter.matchAll(/`([@\w./-]+)`/g)].map(([, name]) => name);
  const missing = Object.keys({ ...dependencies, ...devDependencies }).filter((name) => !named.includes(name));
  expect(missing).toEqual([]);
});
