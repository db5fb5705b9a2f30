// The types of the client are those of the OpenAPI document, and it can run in a browser.

import { globSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { expect, test } from 'vitest';
import { readDocument } from '../support/api-document.ts';
import { clientTypes } from '../support/client-types.ts';
import { CLIENT_TYPES, readPage } from '../support/reference.ts';

const root = join(import.meta.dirname, '../..');

test('src/client/types.ts is what the document says: npm run docs', async () => {
  expect(readPage(CLIENT_TYPES)).toBe(clientTypes(await readDocument()));
});

test('the client imports nothing that only Node has', () => {
  const open = globSync('src/client/*.ts', { cwd: root });
  const packages = new Set<string>();
  const seen = new Set<string>();
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    for (const [, from = ''] of readFileSync(join(root, file), 'utf8').matchAll(/\bfrom '([^']+)';/g)) {
      if (from.startsWith('.')) open.push(posix.join(dirname(file), from));
      else packages.add(from);
    }
  }
  expect([...packages]).toEqual(['openapi-fetch']);
  expect(seen).toContain('src/shared/json/json-text.ts');
  for (const file of seen) expect(readFileSync(join(root, file), 'utf8')).not.toMatch(/\b(process|Buffer)\./);
});
