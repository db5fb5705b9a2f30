import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { type Outcome, problems } from '../../src/demo/check.ts';
import { SCRIPT } from '../../src/demo/script.ts';
import { whatChanged } from '../../src/demo/show.ts';
import { rowhookProcess, startRowhook } from '../support/cli.ts';
import { waitUntil } from '../support/wait.ts';

const demoMs = 180_000;
const eventCount = SCRIPT.flatMap(({ events }) => events).length;

test('demo --once exits 0 when every event came once, verified and logged', { timeout: demoMs }, async () => {
  // about somebody's own database, which the demo leaves alone
  const env = { PGHOSTADDR: '192.0.2.1', PGSSLMODE: 'require', PGSERVICE: 'none', PGTARGETSESSIONATTRS: 'standby' };
  const { code, stdout, stderr } = await rowhookProcess(['demo', '--once'], { env });
  expect(stderr).toBe('');
  expect(stdout).toContain(`All ${eventCount} events arrived, with valid signatures, and all attempts were logged.`);
  expect(code).toBe(0);

  const arrivals = stdout.split('\n').filter((line) => /^ {2}[✓✗] /u.test(line));
  expect(arrivals).toHaveLength(eventCount + 1);
  expect(arrivals.filter((line) => / signatures ok +\d+ ms/.test(line))).toHaveLength(eventCount + 1);
  expect(arrivals.filter((line) => line.includes('answered 500'))).toHaveLength(1);
  const logged = stdout.split('\n').filter((line) => /\bevt_[0-9a-f]{8}_\d+_\d+$/.test(line));
  expect(logged).toHaveLength(eventCount + 1);
  // no escape sequences where there is no terminal, and no JSON of the daemon's log
  expect(stdout).not.toContain('\x1b');
  expect(stdout).not.toContain('{"level"');
});

test('demo stays up, shows what is written to its database, and ends in order', { timeout: demoMs }, async () => {
  const demo = startRowhook(['demo']);
  const url = await waitUntil(
    'it has printed its database',
    () => /postgres:\/\/\S+\/demo$/m.exec(demo.stdout())?.[0],
    {
      timeoutMs: 110_000,
    },
  );
  const statement = /-c "(.+)"/.exec(demo.stdout())?.[1] as string;
  const client = new pg.Client(url);
  await client.connect();
  await client.query(statement);
  await client.end();
  await waitUntil('it shows the delivery', () => /deal\.created +My own deal +signatures ok/.test(demo.stdout()));
  expect(demo.stdout()).toMatch(/logs --follow[\s\S]*webhook create --tenant/);

  const [, api = '', key = ''] = /curl -s (\S+) [^']+'Authorization: (Bearer \S+)'/.exec(demo.stdout()) ?? [];
  const answer = await fetch(api, { headers: { authorization: key } });
  expect(await answer.json()).toMatchObject({ data: [{ name: 'Demo', state: 'active' }] });

  const console = /^ +(http:\S+\/console\/)#token=rhl_\S+$/m.exec(demo.stdout())?.[1] as string;
  expect(await (await fetch(console)).text()).toContain('<div id="root">');

  demo.process.kill('SIGINT');
  expect(await demo.ended).toMatchObject({ code: 0, stderr: '' });
  await expect(new pg.Client(url).connect()).rejects.toThrow(/ECONNREFUSED/);
});

describe('what the demo demands', () => {
  const seen = (id: string, event: string, answered = 204) =>
    ({ id, event, answered, standard: 'valid', hex: 'valid' }) as const;
  const logged = (event_id: string, event_type: string, attempt = 1, status = 'success') => ({
    event_id,
    event_type,
    attempt,
    status,
  });
  const good: Outcome = {
    expected: ['deal.created', 'notes.created'],
    refusedOnce: 'notes.created',
    seen: [seen('evt_1', 'deal.created'), seen('evt_2', 'notes.created', 500), seen('evt_2', 'notes.created')],
    logs: [
      logged('evt_1', 'deal.created'),
      logged('evt_2', 'notes.created', 1, 'failed'),
      logged('evt_2', 'notes.created', 2),
    ],
    unfinished: 0,
  };

  test('is nothing more when all went well', () => {
    expect(problems(good)).toEqual([]);
  });

  test.each<[name: string, change: Partial<Outcome>, sentence: RegExp]>([
    ['a lost event', { seen: good.seen.slice(1), logs: good.logs.slice(1) }, /^deal\.created: 0 of 1 event arrived$/],
    ['an event too much', { expected: ['notes.created'] }, /^deal\.created: 1 of 0 events arrived$/],
    ['a duplicate', { seen: [...good.seen, seen('evt_1', 'deal.created')] }, /arrived 2 times instead of 1/],
    ['a missing retry', { seen: good.seen.slice(0, 2) }, /arrived 1 times instead of 2/],
    [
      'a bad signature',
      { seen: [{ ...seen('evt_1', 'deal.created'), hex: 'mismatch' }, ...good.seen.slice(1)] },
      /is mismatch/,
    ],
    ['a missing log row', { logs: good.logs.slice(1) }, /webhook_logs says nothing instead of 1 success/],
    [
      'a stranger in the log',
      { logs: [...good.logs, logged('evt_9', 'x.y')] },
      /^x\.y evt_9: logged, but never received$/,
    ],
    ['an unfinished delivery', { unfinished: 1 }, /holds 1 unfinished/],
  ])('and it names %s', (_, change, sentence) => {
    expect(problems({ ...good, ...change })).toEqual([expect.stringMatching(sentence)]);
  });
});

test.each([
  [{ data: { title: 'A' } }, 'A'],
  [{ data: { first_name: 'Ada', last_name: 'Byrne' } }, 'Ada Byrne'],
  [{ data: { title: 'A', stage: 'won' }, previous: { stage: 'new' } }, 'A: stage new → won'],
  [{ data: null }, ''],
])('%j is shown as "%s"', (body, shown) => {
  expect(whatChanged(JSON.stringify(body))).toBe(shown);
});
