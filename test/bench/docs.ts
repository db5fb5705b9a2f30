// Writes a result into docs/internals/performance.md, between its marks, and the charts beside it.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { svg } from './chart.ts';
import { GROWTH } from './growth.ts';
import { type Result, table } from './table.ts';

const DOCS = join(import.meta.dirname, '../../docs/internals');
const BEGIN = '<!-- figures: written by npm run bench -- --docs -->';
const END = '<!-- /figures -->';

export function writeDocs(result: Result): void {
  const file = join(DOCS, 'performance.md');
  const page = readFileSync(file, 'utf8');
  const [before, rest = ''] = page.split(BEGIN);
  const [, after] = rest.split(END);
  if (after === undefined) throw new Error(`${file} has lost its marks ${BEGIN} and ${END}`);
  const single = { ...result, figures: result.figures.filter(({ x }) => x === undefined) };
  writeFileSync(file, `${before}${BEGIN}\n\n${table(single)}\n\n${END}${after}`);
  mkdirSync(join(DOCS, 'performance'), { recursive: true });
  for (const { name, series, title, xLabel } of GROWTH) {
    const points = result.figures.flatMap(({ what, x, value }) =>
      what === series && x !== undefined ? [{ x, y: value }] : [],
    );
    if (points.length > 1) writeFileSync(join(DOCS, 'performance', `${name}.svg`), svg({ title, xLabel, points }));
  }
}
