import { expect, test } from 'vitest';
import { indentJson } from '../../src/cli/tools/indent-json.ts';

test.each([
  '{}',
  '[]',
  '"text"',
  'null',
  '{"a":[],"b":{},"c":[{"d":[1,[2]]}],"e":"{\\"f\\": [1, 2]}\\\\"}',
  '[[[]],[{}],{"":""}]',
])('%s looks as JSON.stringify would have it', (text) => {
  expect(indentJson(text)).toBe(JSON.stringify(JSON.parse(text), null, 2));
  expect(indentJson(JSON.stringify(JSON.parse(text), null, 7))).toBe(indentJson(text));
});

test('numbers and duplicate keys stay as they came', () => {
  expect(indentJson('{"a":12345678901234567890.10,"a":1e400}')).toBe(
    '{\n  "a": 12345678901234567890.10,\n  "a": 1e400\n}',
  );
});

test.each(['', 'text', '{"a":', '{} {}'])('%j is no JSON and comes back as it is', (text) => {
  expect(indentJson(text)).toBe(text);
});

test('a string of megabytes is no trouble', () => {
  const text = JSON.stringify({ long: '\\"é'.repeat(500_000) });
  expect(indentJson(text)).toHaveLength(text.length + 5);
});
