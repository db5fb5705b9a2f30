// deploy/prometheus, deploy/grafana and docs/operate/runbook.md, held to a scrape of a daemon that has delivered.

import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { freePort } from '../support/port.ts';
import { startReceiver } from '../support/receiver.ts';
import { hasTool, runTool } from '../support/tool.ts';
import { waitUntil } from '../support/wait.ts';

const root = join(import.meta.dirname, '../..');
const prometheus = join(root, 'deploy/prometheus');
const { homepage } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { homepage: string };

interface Rule {
  alert: string;
  expr: string;
  labels: { severity: 'critical' | 'warning' | 'info'; job: string };
  annotations: { runbook_url: string };
}

let database: TestDatabase;
let scratch: string;
/** A scrape as it is, and of each metric the labels of its samples. */
let scrape: string;
let samples: Map<string, Record<string, string>[]>;
let rules: Rule[];
/** Of every panel of the dashboard. */
let dashboard: string[];

const labelsOf = (text: string) =>
  Object.fromEntries([...text.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value as string]));

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'rowhook-prometheus-'));
  database = await createDatabase({ crm: true });
  const receiver = await startReceiver();
  const tenant = '11111111-1111-4111-8111-111111111111';
  await database.query(
    "insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ($1, 'all', $2, '{*}')",
    [tenant, receiver.url('/')],
  );
  const daemon = await startTestDaemon(database, { httpPort: await freePort() });
  await database.query("insert into clients (organization_id, name) values ($1, 'a')", [tenant]);
  await receiver.waitFor(1);
  const get = async () => (await fetch(`http://127.0.0.1:${daemon.httpPort}/metrics`)).text();
  scrape = await waitUntil(
    'it has measured everything',
    async () => {
      const text = await get();
      return /outcome="success",code="delivered"\} 1\n/.test(text) && !/ (Nan|NaN)\n/.test(text) && text;
      // each scrape begins the event loop's percentiles anew, which take a sample every 100 ms
    },
    { everyMs: 500 },
  );
  await daemon.stop();
  await receiver.close();
  samples = new Map();
  for (const [, name, labels = ''] of scrape.matchAll(/^(\w+)(?:\{(.*)\})? /gm))
    samples.set(name as string, [...(samples.get(name as string) ?? []), labelsOf(labels)]);
  // Prometheus itself says of each target whether it answers
  samples.set('up', [{}]);

  rules = parse(await readFile(join(prometheus, 'rowhook.rules.yml'), 'utf8')).groups[0].rules;
  const { panels } = JSON.parse(await readFile(join(root, 'deploy/grafana/rowhook.json'), 'utf8'));
  dashboard = panels.flatMap(({ targets }: { targets: { expr: string }[] }) => targets.map(({ expr }) => expr));
});

afterAll(async () => {
  await database.drop();
  await rm(scratch, { recursive: true });
});

/** What Prometheus' API says to a query, or of its rules. */
interface Answer {
  result: unknown[];
  groups: { rules: { name: string; state: string; health: string }[] }[];
}

/** Metric names in an expression, with the labels that it asks for. */
function selectorsOf(expression: string): { name: string; labels: Record<string, string> }[] {
  return [...expression.matchAll(/\b((?:rowhook|nodejs|process)_\w+|up)\b(?:\{([^}]*)\})?/g)].map(
    ([, name, labels = '']) => ({ name: name as string, labels: labelsOf(labels) }),
  );
}

/** Those that no series of the scrape answers to; job and instance come from Prometheus. */
function unknownSelectors(expressions: readonly string[]): string[] {
  return expressions.filter((expression) =>
    selectorsOf(expression).some(({ name, labels: { job, instance, ...wanted } }) => {
      const candidates = samples.get(name) ?? [];
      return !candidates.some((labels) => Object.entries(wanted).every(([key, value]) => labels[key] === value));
    }),
  );
}

test('every series that an alert, its test or a panel names is in a real scrape', async () => {
  const tests: { input_series: { series: string }[] }[] = parse(
    await readFile(join(prometheus, 'rowhook.test.yml'), 'utf8'),
  ).tests;
  const series = tests.flatMap(({ input_series }) => input_series.map((input) => input.series));
  const expressions = [...rules.map(({ expr }) => expr), ...dashboard, ...series];
  expect(expressions.filter((expression) => selectorsOf(expression).length === 0)).toEqual([]);
  expect(unknownSelectors(expressions)).toEqual([]);
  expect(unknownSelectors(['rate(rowhook_deliverys_total[5m])', 'up{a="b"}'])).toHaveLength(2);
});

test('the metrics are those that the runbook and the README promise, and name no tenant', () => {
  for (const name of [
    'rowhook_deliveries_total',
    'rowhook_delivery_latency_seconds_bucket',
    'rowhook_oldest_undelivered_seconds',
    'rowhook_lanes_held',
    'rowhook_parked_deliveries',
    'rowhook_lagging_tenants',
    'rowhook_oldest_lagging_seconds',
    'rowhook_log_partitions_ahead',
    'rowhook_inbound_events',
    'rowhook_inbound_oldest_seconds',
    'rowhook_breakers_open',
    'rowhook_sources_not_captured',
    'rowhook_rows_without_tenant',
    'rowhook_thin_changes_total',
    'rowhook_in_flight',
    'rowhook_notify_queue_usage',
    'rowhook_database_round_trip_seconds_count',
    'rowhook_event_loop_lag_seconds_bucket',
    'process_resident_memory_bytes',
  ])
    expect(samples.has(name), name).toBe(true);
  expect(scrape).not.toMatch(/tenant="|webhook="|http:\/\//);
});

test('docs/operate/monitoring.md has every metric of the daemon, and no other', async () => {
  const page = await readFile(join(root, 'docs/operate/monitoring.md'), 'utf8');
  const listed = [...page.matchAll(/^\| `(rowhook_\w+)` \|/gm)].map(([, name = '']) => name);
  const scraped = [...samples.keys()].map((name) => name.replace(/_(bucket|sum|count)$/, ''));
  expect(listed.filter((name) => !name.startsWith('rowhook_api_')).sort()).toEqual(
    [...new Set(scraped.filter((name) => name.startsWith('rowhook_')))].sort(),
  );
});

test('a rule sees the series of its own job only, and its alert names the job', () => {
  for (const { alert, expr, labels } of rules) {
    expect(labels.job, alert).toBe('rowhook');
    for (const selector of selectorsOf(expr)) expect(selector.labels.job, `${alert}: ${selector.name}`).toBe('rowhook');
  }
});

describe('the runbook', () => {
  let runbook: string;

  beforeAll(async () => {
    runbook = await readFile(join(root, 'docs/operate/runbook.md'), 'utf8');
  });

  const titles = () => [...runbook.matchAll(/^## (.*)$/gm)].map(([, title = '']) => title);

  test('has an entry for every alert, and none for others', () => {
    expect(titles().filter((title) => title.startsWith('Rowhook'))).toEqual(rules.map(({ alert }) => alert));
  });

  test('is where the alerts link to, from a phone, too', () => {
    const url = `${homepage.replace(/#.*/, '')}/blob/main/docs/operate/runbook.md#`;
    expect(url).toMatch(/^https:/);
    for (const { alert, annotations } of rules) expect(annotations.runbook_url).toBe(`${url}${alert.toLowerCase()}`);
  });

  test('has the same four lines for each alert, and something to run', () => {
    const entries = runbook.split(/^## /m).filter((entry) => entry.startsWith('Rowhook'));
    for (const [n, entry] of entries.entries()) {
      const lines = [...entry.matchAll(/^\*\*(.*?):\*\*/gm)].map(([, name]) => name);
      expect(lines, entry).toEqual(['Impact', 'Urgency', 'Do this', 'Done when']);
      expect(entry).toMatch(/^```sh\n/m);
      const isCritical = rules[n]?.labels.severity === 'critical';
      expect(/^\*\*Urgency:\*\* now\./m.test(entry), entry).toBe(isCritical);
    }
  });

  test('names the missing setting before adopt, and adopt for copies alone', () => {
    const entries = runbook.split(/^## /m).filter((entry) => entry.startsWith('Rowhook'));
    expect(entries.filter((entry) => entry.includes('adopt'))).toEqual([
      expect.stringMatching(/^RowhookDown\n[\s\S]*set `ROWHOOK_ENVIRONMENT`[\s\S]*Do not run `rowhook adopt`/),
    ]);
  });

  test('holds queries that work', async () => {
    const queries = [...runbook.matchAll(/^```sql\n(select[\s\S]*?)\n```$/gm)].map(([, sql]) => sql as string);
    expect(queries.length).toBeGreaterThan(4);
    for (const sql of queries) await database.query(sql);
  });
});

describe.skipIf(!hasTool('promtool', '--version'))('promtool', () => {
  test('takes the rules, and every expression of the dashboard', async () => {
    expect(await runTool('promtool', ['check', 'rules', join(prometheus, 'rowhook.rules.yml')])).toMatchObject({
      code: 0,
    });
    const file = join(scratch, 'dashboard.yml');
    const asRules = dashboard.map((expr, i) => ({
      record: `panel_${i}`,
      expr: expr.replaceAll('$__rate_interval', '5m').replaceAll('$job', 'rowhook'),
    }));
    // JSON is YAML
    await writeFile(file, JSON.stringify({ groups: [{ name: 'dashboard', rules: asRules }] }));
    const { code, output } = await runTool('promtool', ['check', 'rules', file]);
    expect(code, output).toBe(0);
  });

  test('sees each alert fire when it must, and keep quiet when it must not', async () => {
    const file = join(prometheus, 'rowhook.test.yml');
    const { code, output } = await runTool('promtool', ['test', 'rules', file]);
    expect(code, output).toBe(0);
    const names: string[] = parse(await readFile(file, 'utf8')).tests.map(({ name }: { name: string }) => name);
    expect(names).toEqual(rules.flatMap(({ alert }) => [`${alert} fires`, `${alert} keeps quiet`]));
  });

  test('keeps two environments of one Prometheus apart, with the command of the page', async () => {
    const page = await readFile(join(root, 'docs/operate/monitoring.md'), 'utf8');
    const [, command = ''] = /^```sh\n(sed -E [\s\S]*?)\n```$/m.exec(page) ?? [];
    const file = join(scratch, 'rowhook-staging.rules.yml');
    const made = command.replace('> rowhook-staging.rules.yml', `> ${file}`);
    expect(await runTool('sh', ['-c', `cd ${root} && ${made}`])).toEqual({ code: 0, output: '' });
    const staging: Rule[] = parse(await readFile(file, 'utf8')).groups[0].rules;
    const renamed = rules.map(({ expr }) => expr.replaceAll('job="rowhook"', 'job="rowhook-staging"'));
    expect(staging.map(({ expr }) => expr)).toEqual(renamed);

    const of = (job: string, daemons: number, lanes: number) => [
      { series: `up{job="${job}",instance="${job}"}`, values: `${daemons}x10` },
      { series: `rowhook_lanes_held{job="${job}",instance="${job}"}`, values: `${lanes}x10` },
    ];
    const firing = (rule: Rule | undefined, summary?: string) => {
      const { annotations, labels } = rule as Rule;
      return { exp_labels: labels, exp_annotations: summary ? { ...annotations, summary } : annotations };
    };
    const named = (of: readonly Rule[], name: string) => of.find(({ alert }) => alert === name);
    const both = {
      rule_files: [join(prometheus, 'rowhook.rules.yml'), file],
      tests: [
        {
          interval: '1m',
          input_series: [...of('rowhook', 1, 0), ...of('rowhook-staging', 0, 16)],
          alert_rule_test: [
            {
              eval_time: '5m',
              alertname: 'RowhookLanesUnowned',
              exp_alerts: [firing(named(rules, 'RowhookLanesUnowned'), '0 of 16 lanes are owned.')],
            },
            { eval_time: '5m', alertname: 'RowhookDown', exp_alerts: [firing(named(staging, 'RowhookDown'))] },
          ],
        },
      ],
    };
    await writeFile(join(scratch, 'both.test.yml'), JSON.stringify(both));
    const { code, output } = await runTool('promtool', ['test', 'rules', join(scratch, 'both.test.yml')]);
    expect(code, output).toBe(0);
  });

  test('finds nothing to say of the names of our metrics', async () => {
    const ours = scrape.split('\n').filter((line) => /^(# (HELP|TYPE) )?rowhook_/.test(line));
    const file = join(scratch, 'metrics');
    await writeFile(file, `${ours.join('\n')}\n`);
    expect(await runTool('sh', ['-c', `promtool check metrics < ${file}`])).toEqual({ code: 0, output: '' });
  });
});

describe.skipIf(!hasTool('prometheus', '--version'))('a Prometheus that scrapes a daemon', () => {
  /** They tell how fast the machine is. One slow statement among the first few is told for five minutes, without their `for`. */
  const ofTheMachine = new Set(['RowhookDatabaseSlow', 'RowhookEventLoopSlow', 'RowhookLatencyHigh']);

  test('finds nothing wrong with one that delivers, sees its breaker open, and misses it when it is gone', async () => {
    const receiver = await startReceiver();
    onTestFinished(() => receiver.close());
    receiver.respond('*', { status: 500 });
    const tenant = randomUUID();
    await database.query(
      "insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ($1, 'failing', $2, '{*}')",
      [tenant, receiver.url('/')],
    );
    const daemon = await startTestDaemon(database, { httpPort: await freePort() });
    onTestFinished(() => daemon.stop());
    const { alerts } = await startPrometheus(daemon.httpPort as number);

    await waitUntil('it has looked, and nothing is wrong', async () => {
      const { states, health } = await alerts();
      const wrong = states.filter(([name, state]) => state !== 'inactive' && !ofTheMachine.has(name));
      return health.length > 0 && health.every((one) => one === 'ok') && wrong.length === 0;
    });
    await database.query('insert into clients (organization_id, name) select $1, n from generate_series(1, 12) n', [
      tenant,
    ]);
    const firing = async () => (await alerts()).states.filter(([, state]) => state === 'firing').map(([name]) => name);
    await waitUntil('the breaker is told', async () => (await firing()).includes('RowhookBreakersOpen'));
    await daemon.stop();
    await waitUntil('it is missed', async () => (await firing()).includes('RowhookDown'));
  });

  /** Every second, and without waiting for an alert's `for`. */
  async function startPrometheus(target: number) {
    const [port, data] = [await freePort(), await mkdtemp(join(scratch, 'data-'))];
    const impatient = { groups: [{ name: 'rowhook', rules: rules.map(({ alert, expr }) => ({ alert, expr })) }] };
    const config = {
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [join(scratch, 'impatient.yml')],
      scrape_configs: [{ job_name: 'rowhook', static_configs: [{ targets: [`127.0.0.1:${target}`] }] }],
    };
    await writeFile(join(scratch, 'impatient.yml'), JSON.stringify(impatient));
    await writeFile(join(scratch, 'prometheus.yml'), JSON.stringify(config));
    const server = spawn(
      'prometheus',
      [
        `--config.file=${join(scratch, 'prometheus.yml')}`,
        `--storage.tsdb.path=${data}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--log.level=error',
      ],
      { stdio: 'inherit' },
    );
    onTestFinished(async () => {
      server.kill();
      await once(server, 'exit');
    });
    const api = async (path: string) => {
      const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`).catch(() => null);
      return response?.ok ? ((await response.json()) as { data: Answer }).data : null;
    };
    await waitUntil('it has scraped the daemon', async () => {
      const data = await api('query?query=rowhook_lanes_held==16');
      return data?.result.length === 1;
    });
    return {
      async alerts(): Promise<{ states: [string, string][]; health: string[] }> {
        const found = (await api('rules'))?.groups[0]?.rules ?? [];
        return { states: found.map(({ name, state }) => [name, state]), health: found.map(({ health }) => health) };
      },
    };
  }
});
