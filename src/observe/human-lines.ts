/**
 * The log for a person at a terminal: the time, the sentence, then the fields. Anywhere else a line
 * of the log is JSON. Tenants choose some of the texts, so everything is made printable.
 */
import { type OutStream, printable, type Style, terminal } from '../shared/terminal.ts';

interface Entry {
  level: number;
  time: string;
  pid: number;
  msg?: string;
  err?: { message?: string };
  [field: string]: unknown;
}

/** pino's numbers of the levels that a person should notice. */
const NOTICED: Readonly<Record<number, readonly [label: string, style: Style]>> = {
  40: ['warning: ', 'yellow'],
  50: ['error: ', 'red'],
  60: ['fatal: ', 'red'],
};

/** A destination of pino, which calls `write` once for each line. */
export function humanLines(stream: OutStream): { write(line: string): void } {
  const out = terminal(stream);
  return {
    write(line) {
      const { level, time, pid: _, msg = '', err, ...fields } = JSON.parse(line) as Entry;
      const [label, style] = NOTICED[level] ?? ['', null];
      const sentence = printable(`${label}${msg}${err?.message ? `: ${err.message}` : ''}`);
      const more = printable(Object.entries(fields).map(fieldText).join(' '));
      const parts = [out.paint('dim', clock(time)), style ? out.paint(style, sentence) : sentence];
      out.print([...parts, ...(more === '' ? [] : [out.paint('dim', more)])].join('  '));
    },
  };
}

/** `09:30:00`, in the terminal's time zone, as `rowhook listen` prints it. */
function clock(time: string): string {
  return new Date(time).toTimeString().slice(0, 8);
}

function fieldText([name, value]: [string, unknown]): string {
  return `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`;
}
