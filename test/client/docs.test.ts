// The program of docs/api/README.md that uses the client: it compiles, and it runs.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { blocksOf } from '../support/pages.ts';

const root = join(import.meta.dirname, '../..');
const run = promisify(execFile);
let database: TestDatabase;
let api: TestApi;
let folder: string;

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database);
  folder = await mkdtemp(join(tmpdir(), 'rowhook-client-'));
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
  await rm(folder, { recursive: true, force: true });
});

test('the example of docs/api/README.md compiles, reads events, and writes one with all of its digits', async () => {
  const blocks = blocksOf('docs/api/README.md').filter(({ kind }) => kind === 'ts');
  const text = blocks
    .map((block) => block.text)
    .join('\n')
    .replace('rowhook/client', join(root, 'src/client/client.ts'))
    .replace('https://webhooks.example.com', api.url);
  await writeFile(join(folder, 'page.ts'), text);
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  const compilerOptions = { typeRoots: [join(root, 'node_modules/@types')], rewriteRelativeImportExtensions: false };
  const settings = { extends: join(root, 'tsconfig.json'), compilerOptions, include: ['page.ts'] };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(settings));
  await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder]);

  const token = await createKey(database, 'acme');
  await api.ask('POST', '/v1/me/events', { token, body: '{"event":"deal.won","data":{"id":10000000000000000001}}' });
  const { stdout } = await run(process.execPath, [join(folder, 'page.ts')], { env: { TOKEN: token } });
  expect(stdout).toMatch(/^deal\.won \{ ?"id": ?10000000000000000001\}\n$/);
  const rows = await database.query<{ data: string }>(
    `select data::text from rowhook.webhook_outbox where 'order.paid' = any (event_types)`,
  );
  expect(rows.map(({ data }) => data.replaceAll(' ', ''))).toEqual(['{"id":12345678901234567890}']);
});
