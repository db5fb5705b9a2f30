// The texts of errors, as they stand in the code: what src/ throws for people, and what SQL raises.

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');

export interface ErrorText {
  file: string;
  text: string;
}

/** The literals of an expression, with `…` for what is computed. A text that is cut into several is one again. */
function textOf(expression: string, literals: RegExp): string {
  let text = '';
  let end = 0;
  for (const { 0: literal, index } of expression.matchAll(literals)) {
    const isOneText = end === 0 || /^\s*(\|\||\+)?\s*$/.test(expression.slice(end, index));
    text += `${isOneText ? '' : ' | '}${literal.slice(1, -1)}`;
    end = index + literal.length;
  }
  return text
    .replaceAll('\\n', ' ')
    .replace(/\$\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}/g, '…')
    .replace(/\s+/g, ' ');
}

/** From `start` to where an expression ends: at a comma or a bracket that is not its own. */
function expressionAt(text: string, start: number, literals: RegExp, ends: RegExp): string {
  let depth = 0;
  const token = new RegExp(`${literals.source}|[(\\[{]|[)\\]}]|${ends.source}`, 'g');
  token.lastIndex = start;
  for (let found = token.exec(text); found; found = token.exec(text)) {
    const [what] = found;
    if (/^[([{]$/.test(what)) depth += 1;
    else if (/^[)\]}]$/.test(what)) depth -= 1;
    else if (what.length > 1 || depth > 0) continue;
    if (depth < 0 || (depth === 0 && /^[,;]$/.test(what))) return text.slice(start, found.index);
  }
  return text.slice(start);
}

const SQL = /'(?:[^']|'')*'/g;
const CODE = /'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g;

const read = (file: string) => readFileSync(join(root, file), 'utf8');
const withoutComments = (code: string) => code.replace(/^ *(?:\/\/|\*|\/\*\*).*$/gm, '');

/** Each RAISE with its hint, or without one with its message; and the phrases of functions that say what is wrong with a value. */
export function sqlErrors(): ErrorText[] {
  return globSync('sql/**/*.sql', { cwd: root })
    .sort()
    .flatMap((file) => {
      const sql = read(file).replace(/^ *--.*$/gm, '');
      const raised = [...sql.matchAll(/\braise (?:exception|notice|warning|\w+ using)\b/g)].map(({ index }) => {
        const raise = expressionAt(sql, index + 'raise '.length, SQL, /;/);
        const says = saysOf(raise);
        return textOf(says, SQL).replaceAll("''", "'") || says.trim();
      });
      const phrases = [...sql.matchAll(/^create function rowhook\._\w+_problem\(.*\n(?:.*\n)*?\$\$;/gm)].flatMap(
        ([body]) =>
          [...body.matchAll(/\breturn (?:format\()?(?=')/g)].map(({ index, 0: before }) =>
            textOf(expressionAt(body, index + before.length, SQL, /[,;]/), SQL).replaceAll("''", "'"),
          ),
      );
      return [...raised, ...phrases].map((text) => ({ file, text }));
    });
}

/** The hint, or the message. */
function saysOf(raise: string): string {
  const at = /\bhint *=/.exec(raise) ?? /\bmessage *=/.exec(raise) ?? /'/.exec(raise);
  const start = (at?.index ?? 0) + (at?.[0] === "'" ? 0 : (at?.[0].length ?? 0));
  return expressionAt(raise, start, SQL, /[,;]/);
}

/** Files whose texts become errors by way of a table or a variable: every sentence of theirs counts. */
const TEXTS = [
  'src/config/environment.ts',
  'src/database/constraint-texts.ts',
  'src/database/explain-error.ts',
  'src/database/explain-tls.ts',
  'src/deliver/address-guard.ts',
  'src/deliver/url-guard.ts',
];

/** What a UserError is made of, or an Error that becomes one. */
export function sourceErrors(): ErrorText[] {
  return globSync('src/**/*.ts', { cwd: root })
    .sort()
    .flatMap((file) => {
      const code = withoutComments(read(file));
      if (TEXTS.includes(file)) {
        return [...code.matchAll(CODE)]
          .map(([literal]) => ({ file, text: textOf(literal, CODE) }))
          .filter(({ text }) => text.split(' ').length > 2 && /[a-z]{3}/.test(text));
      }
      const thrown = /^src\/(config|connection|demo)\//.test(file)
        ? /new (?:User)?Error\(/g
        : /new (?:UserError|NotFound)\(/g;
      return [...code.matchAll(thrown)].map((match) => {
        const expression = expressionAt(code, match.index + match[0].length, CODE, /,/);
        return { file, text: textOf(expression, CODE) || expression.trim() };
      });
    });
}
