// rowhook._fill, which puts the parts of generated SQL into their templates.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});

afterAll(() => database.drop());

async function fill(template: string, ...parts: (string | null)[]): Promise<string | undefined> {
  const [row] = await database.query<{ text: string }>('select rowhook._fill($1, variadic $2::text[]) as text', [
    template,
    parts,
  ]);
  return row?.text;
}

test('every mark becomes its part, once or several times', async () => {
  expect(await fill('{a} {b_c}{a}', 'b_c', '2', 'a', '1')).toBe('1 21');
  expect(await fill('{a}', 'a', '')).toBe('');
});

test('text of a part is never replaced', async () => {
  expect(await fill('{a} {b}', 'a', "{b} %1$s \\1 \\& '{}'", 'b', '{a}')).toBe("{b} %1$s \\1 \\& '{}' {a}");
  expect(await fill('({a})', 'a', 'x \\\n  y')).toBe('(x \\\n  y)');
  expect(await fill("100 % {a} %s %1$s '%%'", 'a', '%')).toBe("100 % % %s %1$s '%%'");
});

test('braces that are not a mark stay', async () => {
  expect(await fill(`'{}' '{1}' '{x,y}' { a } {a}`, 'a', '1')).toBe(`'{}' '{1}' '{x,y}' { a } 1`);
});

test('a backslash at the end of a line joins the next line', async () => {
  expect(await fill('\\\n    select {a} \\\n      from t\n     where \\ x', 'a', '1')).toBe(
    'select 1 from t\n     where \\ x',
  );
});

test('a mark without a part, and a part without a mark, are errors', async () => {
  await expect(fill('{a} {b}', 'a', '1')).rejects.toThrow('_fill: {b} is in the template, but its part is missing');
  await expect(fill('{a}', 'a', null)).rejects.toThrow(
    '_fill: {a} is in the template, but its part is missing or null',
  );
  await expect(fill('{a}', 'a', '1', 'b', '2')).rejects.toThrow('_fill: the part b has no mark in the template');
  await expect(fill('{a}', 'a', '1', 'b')).rejects.toThrow('even number of elements');
});
