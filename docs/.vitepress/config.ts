// The documentation site. Its pages are the files that GitHub shows, under the same relative links:
// README.md is the start page, and a README.md of docs/ is the index of its folder.

import { existsSync, globSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { type DefaultTheme, defineConfig, type MarkdownOptions } from 'vitepress';

const root = join(import.meta.dirname, '../..');
const REPOSITORY = 'https://github.com/rowhook/rowhook';
const pages = globSync(['*.md', 'docs/**/*.md'], { cwd: root });

type Item = [text: string, page: string];

const group = (text: string, items: readonly Item[], collapsed = false): DefaultTheme.SidebarItem => ({
  text,
  collapsed,
  items: items.map(([name, page]) => ({ text: name, link: `/${page}` })),
});

const sidebar = [
  group('Start', [
    ['What rowhook is', ''],
    ['All pages, and the words', 'docs/'],
  ]),
  group('Developer', [
    ['Quickstart', 'docs/use/quickstart'],
    ['Webhooks', 'docs/use/webhooks'],
    ['In your application', 'docs/use/app'],
    ['Deliveries', 'docs/use/deliveries'],
    ['Payloads', 'docs/use/payloads'],
    ['HTTP API', 'docs/api/'],
    ['Web console', 'docs/console/'],
    ['Inbound webhooks', 'docs/use/inbound'],
    ['Troubleshooting', 'docs/use/troubleshooting'],
    ['Compare', 'docs/use/compare'],
  ]),
  group('DBA', [
    ['Approve', 'docs/dba/approve'],
    ['Watched tables', 'docs/dba/tables'],
    ['Managed services', 'docs/dba/managed'],
    ['Cost', 'docs/dba/cost'],
    ['Backup', 'docs/dba/backup'],
    ['Upgrade', 'docs/dba/upgrade'],
    ['Tenants', 'docs/dba/tenants'],
  ]),
  group('Operator', [
    ['Deploy', 'docs/operate/deploy'],
    ['Configuration', 'docs/operate/configuration'],
    ['Limits and guarantees', 'docs/operate/limits'],
    ['Monitoring', 'docs/operate/monitoring'],
    ['Runbook', 'docs/operate/runbook'],
  ]),
  group('Receiver', [['Receive webhooks', 'docs/use/receivers']]),
  group(
    'Contributor',
    [
      ['Contributing', 'CONTRIBUTING'],
      ['Architecture', 'docs/internals/architecture'],
      ['Performance', 'docs/internals/performance'],
      ['Faults', 'docs/internals/faults'],
      ['Decisions', 'docs/internals/decisions/'],
      ['Security', 'SECURITY'],
      ['Changelog', 'CHANGELOG'],
    ],
    true,
  ),
];

/** As GitHub makes anchors, so that one link works in both places. */
const slugify = (heading: string) =>
  heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(/\s/g, '-');

/** Where a link of a page leads on the site: files that are no pages are on GitHub. */
export function onSite(href: string, page: string): string {
  if (/^([a-z]+:|#)/.test(href)) return href;
  const [path = '', hash = ''] = href.split(/(?=#)/);
  const file = posix.normalize(posix.join(posix.dirname(page), path));
  if (pages.includes(file)) return path.replace(/(^|\/)README\.md$/, '$1index.md') + hash;
  if (!existsSync(join(root, file))) throw new Error(`${page} links to ${href}, which does not exist.`);
  const kind = statSync(join(root, file)).isDirectory() ? 'tree' : 'blob';
  return `${REPOSITORY}/${kind}/main/${file.replace(/\/$/, '')}${hash}`;
}

const markdown: MarkdownOptions = {
  anchor: { slugify },
  theme: { light: 'github-light-high-contrast', dark: 'github-dark' },
  config(md) {
    const code = md.renderer.rules.code_inline;
    md.renderer.rules.code_inline = (tokens, index, options, env, self) => {
      tokens[index]?.attrSet('v-pre', ''); // `{{ data.id }}` is a text, and not for Vue
      return code?.(tokens, index, options, env, self) ?? self.renderToken(tokens, index, options);
    };
    const open = md.renderer.rules.link_open;
    md.renderer.rules.link_open = (tokens, index, options, env, self) => {
      const token = tokens[index];
      const href = token?.attrGet('href');
      if (href) token?.attrSet('href', onSite(href, env.relativePath.replace(/(^|\/)index\.md$/, '$1README.md')));
      return open?.(tokens, index, options, env, self) ?? self.renderToken(tokens, index, options);
    };
  },
};

export default defineConfig({
  title: 'rowhook',
  description: 'Signed webhooks from your PostgreSQL tables. You do not change your application.',
  lang: 'en',
  srcDir: '..',
  srcExclude: ['!(docs)/**/*.md'],
  outDir: '../.rowhook/site',
  cacheDir: '../node_modules/.cache/vitepress',
  rewrites: (page) => page.replace(/(^|\/)README\.md$/, '$1index.md'),
  head: [['link', { rel: 'icon', href: `data:image/svg+xml,${encodeURIComponent(ICON())}` }]],
  markdown,
  vite: { build: { chunkSizeWarningLimit: 2_000 } }, // the index of the search is one chunk
  themeConfig: {
    nav: [
      { text: 'Quickstart', link: '/docs/use/quickstart' },
      { text: 'Documentation', link: '/docs/' },
      { text: 'HTTP API', link: '/docs/api/' },
      { text: 'Limits', link: '/docs/operate/limits' },
    ],
    sidebar,
    outline: { level: [2, 3] },
    search: { provider: 'local' },
    socialLinks: [{ icon: 'github', link: REPOSITORY }],
    editLink: { pattern: `${REPOSITORY}/edit/main/:path`, text: 'Edit this page' },
  },
});

function ICON(): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#2f5fd0"/><path d="M8 10h10M8 16h7M8 22h10m2-10 6 5-6 5" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round" stroke-linejoin="round"/></svg>`;
}
