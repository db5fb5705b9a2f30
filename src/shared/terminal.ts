/**
 * Output of commands: lines, tables that fit the terminal, colours where the terminal supports
 * them.
 *
 * Tenants choose names, URLs and response bodies, and an operator's terminal obeys escape
 * sequences. So everything from a row or a request passes through `printable` first.
 */
import { styleText } from 'node:util';

export type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow';

/** Where a command writes. Without a terminal, `columns` is undefined and nothing is cut. */
export interface Out {
  readonly columns: number | undefined;
  print(line?: string): void;
  /** Writes the text unchanged, without a line end. */
  write(text: string): void;
  paint(style: Style, text: string): string;
}

/** stdout, or another stream. */
export type OutStream = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

export function terminal(stream: OutStream): Out {
  return {
    columns: stream.isTTY ? stream.columns : undefined,
    print: (line = '') => void stream.write(`${line}\n`),
    write: (text) => void stream.write(text),
    // styleText checks the stream, NO_COLOR and FORCE_COLOR.
    paint: (style, text) => styleText(style, text, { stream }),
  };
}

export type Cell = string | number | null | undefined | { text: string; style: Style };

/**
 * Prints rows under their headers. The widest columns are narrowed first. Ids are never cut,
 * because people copy them. A table that is still too wide is printed as pairs, row by row.
 */
export function printTable(out: Out, headers: readonly string[], rows: readonly (readonly Cell[])[]): void {
  const texts = [headers, ...rows.map((row) => row.map(textOf))];
  const widths = fittingWidths(
    headers.map((_, column) => Math.max(...texts.map((row) => lengthOf(row[column] ?? '')))),
    headers.map((header) => /\bid$/.test(header)),
    out.columns,
  );
  if (out.columns !== undefined && widthOf(widths) > out.columns) {
    for (const row of rows) {
      printPairs(
        out,
        headers.map((header, column) => [header, row[column]]),
      );
      out.print();
    }
    return;
  }
  const line = (cells: readonly string[], paint: (text: string, column: number) => string) =>
    cells
      .map((text, column) => paint(cut(text, widths[column] ?? 0).padEnd(widths[column] ?? 0), column))
      .join(GAP)
      .trimEnd();

  out.print(line(headers, (text) => out.paint('dim', text)));
  for (const row of rows) {
    out.print(
      line(row.map(textOf), (text, column) => {
        const cell = row[column];
        return typeof cell === 'object' && cell !== null ? out.paint(cell.style, text) : text;
      }),
    );
  }
}

/** Prints pairs of name and value, one per line. */
export function printPairs(out: Out, pairs: readonly (readonly [string, Cell])[]): void {
  const width = Math.max(...pairs.map(([name]) => name.length));
  for (const [name, cell] of pairs) {
    const text = typeof cell === 'object' && cell !== null ? out.paint(cell.style, textOf(cell)) : textOf(cell);
    out.print(`${out.paint('dim', name.padEnd(width))}${GAP}${text}`.trimEnd());
  }
}

/** One line without control characters: `\x1b` and others are shown, not obeyed. */
export function printable(text: string): string {
  return escapeControls(text, /[\p{Cc}\p{Cf}\u2028\u2029]/gu);
}

/** The same, but keeps line breaks. */
export function printableLines(text: string): string {
  return escapeControls(text, /(?![\n\t])[\p{Cc}\p{Cf}\u2028\u2029]/gu);
}

function escapeControls(text: string, controls: RegExp): string {
  return text.replace(controls, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}

export interface ProgressLine {
  draw(text: string): void;
  /** Call this before anything else is printed. */
  clear(): void;
}

/**
 * One line of a terminal that is overwritten again and again. Prints nothing without a terminal.
 */
export function progressLine(out: Out): ProgressLine {
  const { columns } = out;
  const draw = (text: string) => columns !== undefined && out.write(`\r\u001b[K${cut(text, columns - 1)}`);
  return { draw, clear: () => draw('') };
}

const GAP = '  ';
const NARROWEST = 6;

function textOf(cell: Cell): string {
  return printable(String((typeof cell === 'object' && cell !== null ? cell.text : cell) ?? ''));
}

function lengthOf(text: string): number {
  return [...text].length;
}

function cut(text: string, width: number): string {
  return lengthOf(text) > width ? `${[...text].slice(0, width - 1).join('')}…` : text;
}

function widthOf(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width, GAP.length * (widths.length - 1));
}

/**
 * Narrows the widest column that may be narrowed, down to the width of the next one. Repeats this
 * until the row fits or no column can be narrowed.
 */
function fittingWidths(natural: readonly number[], fixed: readonly boolean[], columns: number | undefined): number[] {
  const widths = [...natural];
  if (columns === undefined) return widths;
  while (widthOf(widths) > columns) {
    const widest = Math.max(...widths.map((width, column) => (fixed[column] ? 0 : width)));
    if (widest <= NARROWEST) break;
    const column = widths.findIndex((width, index) => width === widest && !fixed[index]);
    widths[column] = widest - 1;
  }
  return widths;
}
