// Every command of docs/api/README.md, in its order, as a reader would paste them.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { blocksOf } from '../support/pages.ts';
import { hasTool } from '../support/tool.ts';

let database: TestDatabase;
let api: TestApi;
let folder: string;

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database);
  folder = await mkdtemp(join(tmpdir(), 'rowhook-api-docs-'));
  const program = join(import.meta.dirname, '../../bin/rowhook.ts');
  await writeFile(join(folder, 'rowhook'), `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`, {
    mode: 0o755,
  });
  await writeFile(join(folder, 'npx'), '#!/bin/sh\nexec "$@"\n', { mode: 0o755 });
  // jq -r .name, for the fields that the page reads
  const jq = `let t='';for await(const c of process.stdin)t+=c;console.log(JSON.parse(t)[process.argv.at(-1).slice(1)])`;
  await writeFile(join(folder, 'jq.mjs'), jq);
  await writeFile(join(folder, 'jq'), `#!/bin/sh\nexec '${process.execPath}' '${join(folder, 'jq.mjs')}' "$@"\n`, {
    mode: 0o755,
  });
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
  await rm(folder, { recursive: true, force: true });
});

test.skipIf(!hasTool('bash', '--version') || !hasTool('curl', '--version'))('each command works', async () => {
  const blocks = blocksOf('docs/api/README.md').filter(({ kind }) => kind === 'bash');
  expect(blocks.length).toBeGreaterThan(3);
  // -f: an answer of 400 and above ends the script
  const script = `set -euo pipefail\ncurl() { command curl -f "$@"; echo; }\n${blocks.map(({ text }) => text).join('\n')}`;
  const { stdout } = await promisify(execFile)('bash', ['-c', script], {
    env: { PATH: `${folder}:${process.env.PATH}`, DATABASE_URL: database.url, API: `${api.url}/api` },
  });
  expect(stdout).toContain('"organization_id":"acme"');
  expect(stdout).toContain('"is_active":false');
});
