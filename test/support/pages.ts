// The blocks of a page, as a reader sees them.

import { readPage } from './reference.ts';

export interface Block {
  /** `README.md:12`, where it begins. */
  at: string;
  /** Of a fence; `shell` for an indented line, and for each command of a fence `sh`. */
  kind: string;
  text: string;
  /** The line above it. */
  before: string;
  /** Of the chapter (`## …`) that it stands in. */
  chapter: string;
}

/** Fences `sh` and indented blocks come command by command, without their comments. */
export function blocksOf(page: string): Block[] {
  return piecesOf(page).flatMap((piece) => {
    if (piece.kind === 'comment') return [];
    if (piece.kind !== 'sh') return [piece];
    return linesOf(piece.text).map((text) => ({ ...piece, kind: 'shell', text }));
  });
}

/** What a test goes through from top to bottom: each fence whole, and each HTML comment on a line of its own. */
export function piecesOf(page: string): Block[] {
  const lines = readPage(page).split('\n');
  const pieces: Block[] = [];
  let chapter = '';
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] as string;
    const found = { at: `${page}:${i + 1}`, before: lines[i - 1] ?? '', chapter };
    const fence = /^```(\w*)$/.exec(line);
    const comment = /^<!-- (.*) -->$/.exec(line);
    if (fence) {
      const end = lines.indexOf('```', i + 1);
      pieces.push({ ...found, kind: fence[1] ?? '', text: lines.slice(i + 1, end).join('\n') });
      i = end;
    } else if (/^ {4}\S/.test(line) && (lines[i - 1] === '' || /^ {4}/.test(lines[i - 1] ?? ''))) {
      pieces.push({ ...found, kind: 'sh', text: line.trim() });
    } else if (comment) {
      pieces.push({ ...found, kind: 'comment', text: comment[1] ?? '' });
    } else if (line.startsWith('## ')) {
      chapter = line.slice(3);
    }
  }
  return pieces;
}

/** The commands of a shell block: without comments, and each on one line. */
function linesOf(block: string): string[] {
  return block
    .replaceAll(/ *\\\n */g, ' ')
    .split('\n')
    .map((line) => line.replace(/(^| +)# .*$/, '').trim())
    .filter((line) => line !== '');
}

/** `rowhook …` in the running text. */
export function mentionsOf(page: string): string[] {
  const text = readPage(page).replaceAll(/^```[\s\S]*?^```$/gm, '');
  return [...text.matchAll(/`(?:npx )?rowhook ([^`]+)`/g)].map(([, command = '']) => command.replaceAll('\n', ' '));
}

/** The words of a shell line, without its quotes. */
export function wordsOf(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)].map(([word]) =>
    word.replaceAll(/'([^']*)'|"([^"]*)"/g, (_, single: string, double: string) => single ?? double),
  );
}
