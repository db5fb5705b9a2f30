// The style of this repository, as a test.

import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const find = (...patterns: string[]) => globSync(patterns, { cwd: root }).sort();

const sources = find('{src,bin}/**/*.ts');
const linesMax = 250;

interface Import {
  from: string;
  typeOnly: boolean;
}

/** Static imports, re-exports, and dynamic imports of a literal. */
function importsOf(file: string): Import[] {
  const text = read(file);
  const statements = text.matchAll(/^(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?['"]([^'"]+)['"]/gm);
  const calls = text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g);
  return [
    ...[...statements].map(([, type, from = '']) => ({ from, typeOnly: type !== undefined })),
    ...[...calls].map(([, from = '']) => ({ from, typeOnly: false })),
  ];
}

describe('the one-way rule', () => {
  const stages = ['read', 'match', 'deliver', 'record'];
  const imports = (stage: string) => importsOf(`src/${stage}.ts`).map(({ from }) => from);

  test.each(stages)('%s imports no other stage', (stage) => {
    const others = stages.map((other) => `./${other}.ts`);
    expect(imports(stage).filter((from) => others.includes(from))).toEqual([]);
  });

  test('DELIVER cannot see the database', () => {
    expect(imports('deliver').filter((from) => from === 'pg' || from === './db.ts')).toEqual([]);
  });

  test.each(['read', 'record'])('%s cannot see HTTP', (stage) => {
    expect(imports(stage).filter((from) => /^(undici|node:https?)$/.test(from))).toEqual([]);
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

test('no file refers to what lies outside of the repository', () => {
  const outside = ['..', 'shared'].join('/');
  const files = find('*.{md,json,ts}', '.ci/*', '{bin,src,sql,test,deploy,docs}/**/*.*');
  expect(files.filter((file) => read(file).includes(outside))).toEqual([]);
});

test('migrations are numbered without a gap', () => {
  const names = find('sql/migrations/*').map((file) => basename(file));
  const expected = names.map((_, index) =>
    expect.stringMatching(new RegExp(`^${String(index + 1).padStart(4, '0')}_[a-z0-9_]+\\.sql$`)),
  );
  expect(names).toEqual(expected);
});
