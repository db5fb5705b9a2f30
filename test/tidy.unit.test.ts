// The style of this repository, as a test.

import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, dirname, join, posix } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const find = (...patterns: string[]) => globSync(patterns, { cwd: root }).sort();

const written = 'src/client/types.ts'; // by npm run docs
const sources = find('{src,bin}/**/*.ts').filter((file) => file !== written);
const linesMax = 250;
const filesInFolderMax = 14;
const filesInSrcMax = 3;
const columnsMax = 120;
/** A few lines read better unbroken, such as a long regular expression or a row of a table. */
const wideLinesMax = 30;

/**
 * Which folders of src/ a folder may import. A file of src/ itself stands for
 * itself. The three sentences behind it:
 * read, match, deliver and record never import each other. Only daemon/ and dispatch/ know more than
 * one stage. Nothing imports cli/.
 */
const leaves = ['model', 'outcome', 'roles', 'shared'];
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  outcome: [],
  model: ['outcome'],
  roles: ['model', 'outcome'],
  shared: [],
  connection: ['shared'],
  config: ['shared', 'connection'],
  database: ['shared', 'connection'],
  // the stages
  payload: leaves,
  deliver: leaves,
  inbound: ['shared'],
  match: [...leaves, 'payload'],
  read: [...leaves, 'database'],
  retry: [...leaves, 'database'],
  record: [...leaves, 'database', 'payload'],
  // what puts them in order: the rest of the stages comes in as objects
  queue: [...leaves, 'retry'],
  dispatch: [...leaves, 'queue', 'retry', 'payload'],
  // around the flow
  observe: [...leaves, 'database', 'read'],
  capture: [...leaves, 'database', 'observe'],
  catalog: ['shared'],
  doctor: ['shared', 'config', 'database', 'capture', 'observe'],
  operations: [...leaves, 'database', 'capture', 'match', 'payload', 'observe', 'deliver', 'inbound'],
  daemon: [
    ...leaves,
    ...['config', 'connection', 'database', 'payload', 'deliver', 'match', 'read', 'retry', 'record'],
    ...['queue', 'dispatch', 'observe', 'capture'],
  ],
  // what serves people
  // runs in browsers, too
  client: ['shared'],
  api: [
    ...leaves,
    ...['catalog', 'operations', 'inbound', 'observe', 'capture', 'config', 'connection', 'database', 'payload'],
  ],
  demo: ['shared', 'config', 'database', 'payload', 'observe', 'daemon', 'api'],
  cli: ['*'],
};

interface Import {
  from: string;
  typeOnly: boolean;
}

/** Static imports, re-exports, and dynamic imports of a literal. */
function importsIn(text: string): Import[] {
  const statements = text.matchAll(/^(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?['"]([^'"]+)['"]/gm);
  const calls = text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g);
  return [
    ...[...statements].map(([, type, from = '']) => ({ from, typeOnly: type !== undefined })),
    ...[...calls].map(([, from = '']) => ({ from, typeOnly: false })),
  ];
}

const importsOf = (file: string) => importsIn(read(file));

/** `src/read/reader.ts` → read; `src/model.ts` → model. */
const folderOf = (file: string) => (file.split('/')[1] ?? '').replace(/\.ts$/, '');

/** The imports of a file of src/ that the table above does not allow, types included. */
function forbidden(file: string, text = read(file)): string[] {
  const folder = folderOf(file);
  const allowed = MAY_IMPORT[folder] ?? [];
  const targets = importsIn(text)
    .filter(({ from }) => from.startsWith('.'))
    .map(({ from }) => posix.normalize(posix.join(dirname(file), from)));
  return targets
    .filter((to) => folderOf(to) !== folder && !allowed.includes(folderOf(to)) && !allowed.includes('*'))
    .map((to) => `${file} imports ${to}`);
}

describe('imports go one way', () => {
  const inSrc = sources.filter((file) => file.startsWith('src/'));

  test('every folder has its line in the table', () => {
    expect([...new Set(inSrc.map(folderOf))].sort()).toEqual(Object.keys(MAY_IMPORT).sort());
  });

  test('no file imports what its folder may not', () => {
    expect(inSrc.flatMap((file) => forbidden(file))).toEqual([]);
  });

  test.each([
    ['src/deliver/sender.ts', "import type pg from 'pg';\nimport { connect } from '../database/connections.ts';"],
    ['src/read/reader.ts', "import type { Match } from '../match/filter/filter.ts';"],
    ['src/record/recorder.ts', "export { send } from '../deliver/sender.ts';"],
    ['src/dispatch/dispatcher.ts', "const late = await import('../record/recorder.ts');"],
    ['src/match/filter/filter.ts', "import { query } from '../../database/connections.ts';"],
    ['src/operations/history/logs.ts', "import { print } from '../../cli/inspect/logs.ts';"],
  ])('an import the wrong way is found: %s', (file, text) => {
    expect(forbidden(file, text)).toHaveLength(1);
  });

  test('operations/ hands back values: what prints them is cli/', () => {
    const printing = /\b(?:Out|Cell|Style)\b|\bconsole\.|process\.std/;
    expect(inSrc.filter((file) => folderOf(file) === 'operations' && printing.test(read(file)))).toEqual([]);
  });

  test('DELIVER cannot see the database, READ and RECORD cannot see HTTP', () => {
    const packages = (folder: string) =>
      inSrc.filter((file) => folderOf(file) === folder).flatMap((file) => importsOf(file).map(({ from }) => from));
    expect(packages('deliver')).not.toContain('pg');
    for (const folder of ['read', 'record']) {
      expect(packages(folder).filter((from) => /^(undici|node:https?)$/.test(from))).toEqual([]);
    }
  });
});

// Types may go anywhere: they are gone at run time, and tsc sees to them.
describe('each runtime dependency is imported by one file', () => {
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };

  test.each(Object.keys(dependencies))('%s', (dependency) => {
    const isIt = ({ from, typeOnly }: Import) =>
      !typeOnly && (from === dependency || from.startsWith(`${dependency}/`));
    expect(sources.filter((file) => importsOf(file).some(isIt))).toHaveLength(1);
  });
});

describe('every source file', () => {
  test(`has at most ${linesMax} lines`, () => {
    const sizes = sources.map((file) => ({ file, lines: read(file).trimEnd().split('\n').length }));
    expect(sizes.filter(({ lines }) => lines > linesMax)).toEqual([]);
  });

  test('names its types', () => {
    // Where a type can stand; not the `any(…)` of SQL, nor the word in a message.
    const anyType = /(?:[:<|&,]\s*|\bas\s+)any\s*(?:[;,)>\]|&=[{}]|$)/m;
    const code = (file: string) => read(file).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    expect([...sources, ...find('test/**/*.ts')].filter((file) => anyType.test(code(file)))).toEqual([]);
  });
});

describe('folders', () => {
  const folders = Map.groupBy(sources, (file) => dirname(file));

  test(`hold at most ${filesInFolderMax} files each, and src/ itself ${filesInSrcMax}`, () => {
    const max = (folder: string) => (folder === 'src' ? filesInSrcMax : filesInFolderMax);
    expect([...folders].filter(([folder, files]) => files.length > max(folder)).map(([folder]) => folder)).toEqual([]);
  });
});

test(`at most ${wideLinesMax} lines of src, bin and sql together have more than ${columnsMax} columns`, () => {
  const wide = find('{src,bin,sql}/**/*.{ts,sql}').flatMap((file) =>
    read(file)
      .split('\n')
      .flatMap((line, i) => (line.length > columnsMax ? `${file}:${i + 1}` : [])),
  );
  // The places show where to begin.
  expect(wide.length > wideLinesMax ? wide : []).toEqual([]);
});

test('no file refers to what lies outside of the repository', () => {
  const outside = ['..', 'shared'].join('/');
  const files = find('*.{md,json,ts}', '.ci/*', '{bin,src,sql,test,deploy,docs}/**/*.*');
  // an import of src/shared/ is no such thing
  const text = (file: string) => read(file).replace(/(from|import\() ?'[./]+\/shared\/[^']+'/g, '');
  expect(files.filter((file) => text(file).includes(outside))).toEqual([]);
});

test('every file that comments and documents name is there', () => {
  const files = find('*.md', '{bin,src,sql,deploy,docs}/**/*.{ts,md,sql,yaml,yml}');
  const path = /(?<![\w./@-])[a-z]+(?:\/[\w-]+)+(?:\.[\w-]+)*\.(?:ts|md|sql|ya?ml)\b/g;
  const isThere = (file: string, name: string) =>
    [name, join('src', name), join(dirname(file), name)].some((at) => existsSync(join(root, at)));
  const missing = files
    .flatMap((file) => [...read(file).matchAll(path)].map(([name]) => [file, name] as const))
    .filter(([file, name]) => !isThere(file, name));
  expect(missing).toEqual([]);
});

test('the console reaches the API by the typed client alone', () => {
  const files = find('console/src/**/*.{ts,tsx}');
  expect(files.length).toBeGreaterThan(50);
  const other = /\bfetch\(|XMLHttpRequest|EventSource|sendBeacon|WebSocket/;
  expect(files.filter((file) => other.test(read(file)))).toEqual([]);
});

test('migrations are numbered without a gap', () => {
  const names = find('sql/migrations/*').map((file) => basename(file));
  const expected = names.map((_, index) =>
    expect.stringMatching(new RegExp(`^${String(index + 1).padStart(4, '0')}_[a-z0-9_]+\\.sql$`)),
  );
  expect(names).toEqual(expected);
});
