/**
 * The parts of the pages that come from the code. They stand between `<!-- name: … -->` and
 * `<!-- /name -->`. `npm run docs` (node test/support/reference.ts) writes them.
 * test/docs/generated.test.ts compares.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { CODES } from '../../src/api/problem.ts';
import type { Setting } from '../../src/config/read-table.ts';
import { OWN_SETTINGS } from '../../src/config/serve-settings.ts';
import { SETTINGS } from '../../src/config/settings.ts';
import { migrate } from '../../src/database/migrations.ts';
import { startEmbedded } from '../../src/demo/postgres.ts';
import type { RetryPolicy } from '../../src/model.ts';
import { retryInMs } from '../../src/retry/schedule.ts';
import { readDocument } from './api-document.ts';
import { catalogParts } from './catalog-reference.ts';
import { rowhook } from './cli.ts';
import { clientTypes } from './client-types.ts';

/** A page of its own, since all of it is written. */
export const CLIENT_TYPES = 'src/client/types.ts';

const root = join(import.meta.dirname, '../..');

export interface Part {
  page: string;
  name: string;
  text: string;
}

export const readPage = (page: string) => readFileSync(join(root, page), 'utf8');

const marked = (name: string) => new RegExp(`(<!-- ${name}:[^\\n]*-->\\n)([\\s\\S]*?)(<!-- /${name} -->)`);

/** What stands there now; undefined without the marks. */
export const partOf = ({ page, name }: Part) => marked(name).exec(readPage(page))?.[2];

export async function parts(): Promise<Part[]> {
  const { stdout } = await rowhook(['--help']);
  const page = 'docs/operate/configuration.md';
  return [
    { page, name: 'settings', text: settingsOf(SETTINGS) },
    { page, name: 'serve', text: settingsOf(OWN_SETTINGS) },
    { page, name: 'help', text: `\`\`\`text\n${stdout.trim()}\n\`\`\`\n` },
    { page: 'docs/use/deliveries.md', name: 'retries', text: retries() },
    { page: 'docs/api/README.md', name: 'codes', text: codes() },
  ];
}

function settingsOf(settings: readonly Setting<string, unknown>[]): string {
  const rows = settings.map(({ env, flag, fallback, help }) => {
    const value = fallback === '' ? '' : `\`${fallback}\``;
    return `| \`${env}\` | \`${flag}\` | ${value} | ${help} |`;
  });
  return ['| variable | flag | default | meaning |', '|---|---|---|---|', ...rows, ''].join('\n');
}

function codes(): string {
  const rows = Object.entries(CODES).map(([code, [status, title]]) => `| ${status} | \`${code}\` | ${title} |`);
  return ['| status | code | title |', '|---|---|---|', ...rows, ''].join('\n');
}

/** From the schedules themselves: each wait, and how far chance moves it. */
function retries(): string {
  const rows = (['exponential', 'linear'] as const).map((strategy) => {
    const policy: RetryPolicy = { enabled: true, retriesMax: 7, strategy, delaySeconds: 60 };
    const waits = (random: number) =>
      Array.from({ length: policy.retriesMax }, (_, n) => waitMs(policy, n + 1, random));
    const spread = Math.round((waits(1)[0] as number) / ((waits(0.5)[0] as number) / 100)) - 100;
    const total = waits(0.5).reduce((sum, ms) => sum + ms, 0);
    return `| \`${strategy}\` | ${waits(0.5).map(duration).join(', ')} | ${spread === 0 ? 'none' : `±${spread} %`} | ${duration(total)} |`;
  });
  return [
    '| `retry_strategy` | waits after the 1st, 2nd … failed attempt | chance | 7 retries last |',
    '|---|---|---|---|',
    ...rows,
    '',
    'The table shows `retry_delay_seconds = 60`. `linear` multiplies it by 1, 2, 3 …; `exponential` (the',
    'default) ignores it. Further retries of `exponential` wait 14 h each.',
    '',
  ].join('\n');
}

function waitMs(policy: RetryPolicy, attempt: number, random: number): number {
  const failed = { code: 'http_error', responseStatus: 500, retryAfter: undefined } as const;
  return retryInMs(policy, attempt, failed, 0, random) as number;
}

function duration(ms: number): string {
  const [s, min, h] = [ms / 1_000, ms / 60_000, ms / 3_600_000];
  if (s < 60) return `${s} s`;
  return h < 1 ? `${min} min` : `${Math.round(h * 10) / 10} h`;
}

/** With a PostgreSQL of its own. test/docs/approve.test.ts compares. */
async function partsOfCatalog(): Promise<Part[]> {
  const server = await startEmbedded({ settings: { fsync: 'off' } });
  const client = new pg.Client(server.url);
  try {
    await client.connect();
    await migrate(client);
    return await catalogParts(async (sql) => (await client.query(sql)).rows);
  } finally {
    await client.end();
    await server.stop('immediate');
  }
}

async function write(): Promise<void> {
  for (const { page, name, text } of [...(await parts()), ...(await partsOfCatalog())]) {
    const now = readPage(page).replace(marked(name), (_, begin, _old, end) => begin + text + end);
    writeFileSync(join(root, page), now);
  }
  writeFileSync(join(root, CLIENT_TYPES), clientTypes(await readDocument()));
}

if (process.argv[1] === import.meta.filename) await write();
