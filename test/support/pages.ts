// The blocks of a page, as a reader sees them: fenced ones by their language, indented ones as lines for a shell.

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

/** Indented blocks come line by line, without their comments. */
export function blocksOf(page: string): Block[] {
  const lines = readPage(page).split('\n');
  const blocks: Block[] = [];
  let chapter = '';
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] as string;
    const found = { at: `${page}:${i + 1}`, before: lines[i - 1] ?? '', chapter };
    const fence = /^```(.*)$/.exec(line);
    if (fence) {
      const end = lines.indexOf('```', i + 1);
      const text = lines.slice(i + 1, end).join('\n');
      if (fence[1] === 'sh') blocks.push(...linesOf(text).map((line) => ({ ...found, kind: 'shell', text: line })));
      else blocks.push({ ...found, kind: fence[1] ?? '', text });
      i = end;
    } else if (/^ {4}/.test(line)) {
      blocks.push({ ...found, kind: 'shell', text: line.trim().replace(/ +# .*$/, '') });
    } else if (line.startsWith('## ')) {
      chapter = line.slice(3);
    }
  }
  return blocks;
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
