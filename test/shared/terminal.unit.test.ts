import { expect, test } from 'vitest';
import {
  type Out,
  printable,
  printableLines,
  printPairs,
  printTable,
  progressLine,
} from '../../src/shared/terminal.ts';

function paper(columns: number | undefined): { out: Out; lines: string[] } {
  const lines: string[] = [];
  return {
    lines,
    out: {
      columns,
      print: (line = '') => lines.push(line),
      write: (text) => lines.push(text),
      paint: (style, text) => `<${style}>${text}`,
    },
  };
}

test('columns stand under their headers, and colours do not widen them', () => {
  const { out, lines } = paper(undefined);
  printTable(
    out,
    ['name', 'n'],
    [
      ['a', 10],
      [{ text: 'abcdef', style: 'red' }, null],
    ],
  );
  expect(lines).toEqual(['<dim>name    <dim>n', 'a       10', '<red>abcdef']);
});

test('a table fits the terminal: wide columns give way, ids do not', () => {
  const { out, lines } = paper(60);
  const id = '1f0cdd5e-0000-4000-8000-000000000000';
  printTable(out, ['id', 'url', 'state'], [[id, `https://example.com/${'x'.repeat(100)}`, 'active']]);
  expect(lines[1]).toBe(`${id}  https://examp…  active`);
  expect(lines[1]?.length).toBeLessThanOrEqual(60);
});

test('a row that does not fit even so is printed as pairs', () => {
  const { out, lines } = paper(40);
  const id = '1f0cdd5e-0000-4000-8000-000000000000';
  printTable(out, ['id', 'state'], [[id, { text: 'active', style: 'green' }]]);
  expect(lines).toEqual([`<dim>id     ${id}`, '<dim>state  <green>active', '']);
});

test('nothing is cut where there is no terminal', () => {
  const { out, lines } = paper(undefined);
  printTable(out, ['url'], [['x'.repeat(500)]]);
  expect(lines[1]).toHaveLength(500);
});

test('pairs stand under each other', () => {
  const { out, lines } = paper(80);
  printPairs(out, [
    ['id', '1'],
    ['secret', 'x'],
  ]);
  expect(lines).toEqual(['<dim>id      1', '<dim>secret  x']);
});

test('control characters are shown and not obeyed', () => {
  expect(printable('a\u001b[31mb\r\n\u0000\u009b\u202e\u2028é 🚀')).toBe(
    'a\\x1b[31mb\\x0d\\x0a\\x00\\x9b\\u{202e}\\u{2028}é 🚀',
  );
  expect(printableLines('a\n\tb\u0007')).toBe('a\n\tb\\x07');
});

test('a progress line is written over on a terminal, and is nowhere else', () => {
  const terminal = paper(12);
  const line = progressLine(terminal.out);
  line.draw('1 of 100 events');
  line.clear();
  expect(terminal.lines).toEqual(['\r\u001b[K1 of 100 e…', '\r\u001b[K']);
  const file = paper(undefined);
  progressLine(file.out).draw('1 of 100');
  expect(file.lines).toEqual([]);
});
