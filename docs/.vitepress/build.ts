// npm run docs:build: builds the documentation site into .rowhook/site. It fails at a dead link (VitePress), and at a warning, an
// anchor that leads nowhere, or a script, style, font or picture from another host.

import { globSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { build } from 'vitepress';

const site = join(import.meta.dirname, '../../.rowhook/site');
const problems: string[] = [];

console.warn = (...words: unknown[]) => problems.push(`warning: ${words.join(' ')}`);
console.error = (...words: unknown[]) => problems.push(`error: ${words.join(' ')}`);
await build(import.meta.dirname.replace(/[\\/]\.vitepress$/, ''));

const read = (file: string) => readFileSync(join(site, file), 'utf8');
const files = globSync('**/*.{html,css}', { cwd: site });
const htmls = new Map(files.filter((file) => file.endsWith('.html')).map((file) => [file, read(file)]));

for (const [file, html] of htmls) {
  for (const [, tag, url] of html.matchAll(
    /<(script|link|img|iframe|source)\b[^>]*?(?:src|href)="((?:https?:)?\/\/[^"]*)"/g,
  ))
    problems.push(`${file}: <${tag}> loads ${url}`);
  for (const [, path = '', anchor = ''] of html.matchAll(/<a\b[^>]*? href="(?!\w+:)([^"#]*)#([^"]+)"/g)) {
    const target = path === '' ? file : path.startsWith('/') ? path.slice(1) : posix.join(posix.dirname(file), path);
    const page = htmls.get(target.replace(/(^|\/)$/, '$1index.html'));
    if (!page?.includes(` id="${decodeURIComponent(anchor)}"`)) problems.push(`${file}: dead anchor ${path}#${anchor}`);
  }
}
for (const file of files.filter((name) => name.endsWith('.css')))
  for (const [found] of read(file).matchAll(/(?:url\(|@import )["']?(?:https?:)?\/\/[^)\s]*/g))
    problems.push(`${file}: ${found}`);

if (problems.length > 0) {
  process.stderr.write(`${[...new Set(problems)].join('\n')}\n`);
  process.exit(1);
}
console.log(`${htmls.size} pages in .rowhook/site, without a warning.`);
