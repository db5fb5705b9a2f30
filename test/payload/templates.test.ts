// Templates through the daemon: what is sent, sent again and replayed; what a template that fails does; what SQL refuses.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { SCRIPT, TENANT } from '../../src/demo/script.ts';
import { PAYLOAD_FORMATS } from '../../src/payload/formats.ts';
import { CHAT_TEMPLATES } from '../../src/payload/template/chat-templates.ts';
import { KNOWN } from '../../src/payload/template/liquid.ts';
import { Renderer } from '../../src/payload/template/renderer.ts';
import { rowhook } from '../support/cli.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type ReceivedRequest, type Receiver, startReceiver } from '../support/receiver.ts';
import { verifyRequest } from '../support/verify.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let receiver: Receiver;
let daemon: Daemon;

beforeAll(async () => {
  [database, receiver] = await Promise.all([createDatabase({ crm: true }), startReceiver()]);
  daemon = await startTestDaemon(database);
});

afterAll(async () => {
  await daemon?.stop();
  await receiver?.close();
  await database?.drop();
});

let tenant = '';
let tenants = 0;
const nextTenant = () => {
  tenants += 1;
  tenant = `tenant-${tenants}`;
  return tenant;
};

afterEach(async () => {
  await database.query('delete from rowhook.webhook_configurations');
  receiver.clear();
});

const webhook = (columns: Record<string, unknown>) =>
  createWebhook(database, { tenant_id: tenant, url: receiver.url('/hook'), ...columns });
const template = (text: string, more: Record<string, unknown> = {}) =>
  webhook({ payload_format: 'template', payload_template: text, ...more });
const emit = (data: string, event = 'a.b') =>
  database.query('select rowhook.emit($1, $2::json, $3)', [event, data, tenant]);
const update = (columns: string) => database.query(`update rowhook.webhook_configurations set ${columns}`);
const textOf = ({ body }: ReceivedRequest) => body.toString();

interface Log {
  id: string;
  status: string;
  code: string;
  error: string | null;
  payload_format: string;
  delivery_id: string;
}

async function logs(count: number): Promise<Log[]> {
  return waitUntil(`${count} attempts are logged`, async () => {
    const rows = await database.query<Log>(
      'select id::text, status, code, error, payload_format, delivery_id from rowhook.webhook_logs where tenant_id = $1 order by id',
      [tenant],
    );
    return rows.length >= count && rows;
  });
}

describe('what is sent', () => {
  test('what the template made, signed, with its content type', async () => {
    nextTenant();
    const { secret } = await template('{{ event }}: {{ data.n }}', { content_type: 'text/plain; charset=utf-8' });
    await emit('{"n":1234567890123456789012345678901234567890.10}');
    const [request] = (await receiver.waitFor(1)) as [ReceivedRequest];
    expect(textOf(request)).toBe('a.b: 1234567890123456789012345678901234567890.10');
    expect(request.headers['content-type']).toBe('text/plain; charset=utf-8');
    verifyRequest(request, secret);
    const [log] = (await logs(1)) as [Log];
    expect(log.payload_format).toMatch(/^template:[0-9a-f]{32}:[0-9a-f]{16}$/);
    const shown = await rowhook(['logs', 'show', log.id], { env: { DATABASE_URL: database.url } });
    expect(shown.stdout).toContain('a.b: 1234567890123456789012345678901234567890.10');
  });

  test('cloudevents, alone and in batches', async () => {
    nextTenant();
    await webhook({ payload_format: 'cloudevents' });
    await webhook({ payload_format: 'cloudevents', batch_max_events: 10, url: receiver.url('/batch') });
    await emit('{"n":1.50}');
    await receiver.waitFor(2);
    const [one] = receiver.requestsTo('/hook') as [ReceivedRequest];
    const [batch] = receiver.requestsTo('/batch') as [ReceivedRequest];
    expect(one.headers['content-type']).toBe('application/cloudevents+json');
    expect(textOf(one)).toContain('"data":{"n":1.50}');
    expect(JSON.parse(textOf(one))).toMatchObject({
      specversion: '1.0',
      type: 'a.b',
      source: `/organizations/${tenant}`,
    });
    expect(batch.headers['content-type']).toBe('application/cloudevents-batch+json');
    expect(JSON.parse(textOf(batch))).toMatchObject([{ type: 'a.b' }]);
    const all = await logs(2);
    for (const { id } of all) {
      const shown = await rowhook(['logs', 'show', id, '--json'], { env: { DATABASE_URL: database.url } });
      expect(shown.stdout).toContain('specversion');
    }
  });
});

describe('the same bytes', () => {
  test('on every attempt and replay, whatever changes in between', async () => {
    nextTenant();
    let answers = 0;
    receiver.respond('/hook', () => {
      answers += 1;
      return { status: answers <= 2 ? 500 : 200 };
    });
    await template('{"one": {{ data.n | json }}, "name": {{ metadata.webhook_name | json }}}', {
      ...{ retry_strategy: 'linear', retry_delay_seconds: 1 },
    });
    await emit('{"n":1.10}');
    await receiver.waitFor(1);
    await update(`payload_template = '{"two": 2}', name = 'another name'`);
    await receiver.waitFor(2);
    await update(`payload_format = 'nested', payload_template = null`);
    await receiver.waitFor(3);
    const [first] = await logs(3);
    await update(`payload_format = 'slack'`);
    await database.query('select rowhook.replay_delivery($1)', [first?.delivery_id]);
    await receiver.waitFor(4);
    await logs(4);
    await database.query(
      `select rowhook.replay(id, now() - interval '1 hour', "only" => 'all') from rowhook.webhook_configurations`,
    );
    await receiver.waitFor(5);
    expect(new Set(receiver.requests.map(textOf))).toEqual(new Set(['{"one": 1.10, "name": "under test"}']));
    expect(new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    // and after all this, a new event has the new format
    await emit('{"n":2}');
    const requests = await receiver.waitFor(6);
    expect(JSON.parse(textOf(requests.at(-1) as ReceivedRequest))).toHaveProperty('blocks');
  });

  test('or none, if the renderer has learned to make other bytes since', async () => {
    nextTenant();
    await template('{"one": 1}');
    await emit('{}');
    const [sent] = (await logs(1)) as [Log];
    await update(`payload_template = '{"two": 2}'`);
    // What another version of the library would do: the template of that hash makes something else.
    await database.query(`update rowhook.webhook_templates set template = '{"one": 1.0}' where tenant_id = $1`, [
      tenant,
    ]);
    await database.query('select rowhook.replay_delivery($1)', [sent.delivery_id]);
    const skipped = (await logs(2)).at(-1);
    expect(skipped).toMatchObject({ status: 'skipped', code: 'template_failed' });
    expect(skipped?.error).toContain('makes another body of the template than the one that was sent');
    expect(receiver.requests.map(textOf)).toEqual(['{"one": 1}']);
    const shown = await rowhook(['logs', 'show', sent.id], { env: { DATABASE_URL: database.url } });
    expect(shown.stdout).toContain('this version of rowhook makes another body of the template');
  });

  test('a template is kept as long as the log names it', async () => {
    nextTenant();
    await template('{"kept": true}');
    await emit('{}');
    await logs(1);
    const kept = () => database.query('select template from rowhook.webhook_templates where tenant_id = $1', [tenant]);
    expect(await kept()).toEqual([{ template: '{"kept": true}' }]);
    await database.query('select rowhook._delete_old_rows(30)');
    expect(await kept()).toHaveLength(1);
    await database.query(
      `update rowhook.webhook_templates set used_at = now() - interval '33 days' where tenant_id = $1`,
      [tenant],
    );
    await database.query('select rowhook._delete_old_rows(30)');
    expect(await kept()).toEqual([]);
  });
});

describe('a template that fails at an event', () => {
  test('leaves a row that says why, is replayed after the mend, and harms no other webhook', async () => {
    nextTenant();
    await template('{"n": {{ data.n }}}');
    await webhook({ url: receiver.url('/other') });
    await emit('{"n":"text"}');
    const [skipped] = (await waitUntil('it was skipped', async () => {
      const rows = await logs(2);
      return rows.some(({ status }) => status === 'skipped') && rows.filter(({ status }) => status === 'skipped');
    })) as [Log];
    expect(skipped).toMatchObject({ code: 'template_failed', payload_format: 'template' });
    expect(skipped.error).toMatch(/^payload_template: the output is not JSON/);
    expect(receiver.requestsTo('/hook')).toEqual([]);
    expect(receiver.requestsTo('/other')).toHaveLength(1);

    await update(`payload_template = '{"n": {{ data.n | json }}}' where payload_format = 'template'`);
    await database.query(
      `select rowhook.replay(id, now() - interval '1 hour', "only" => 'missed') from rowhook.webhook_configurations
        where payload_format = 'template'`,
    );
    const [request] = await receiver.waitFor(({ path }) => path === '/hook');
    expect(textOf(request as ReceivedRequest)).toBe('{"n": "text"}');
  });

  test('one that never ends costs its own webhook only', async () => {
    nextTenant();
    await template('{% for i in (1..1000000) %}{% for j in (1..1000000) %}{{ i }}{% endfor %}{% endfor %}', {
      content_type: 'text/plain',
    });
    await template('{{ data.n }}', { content_type: 'text/plain', url: receiver.url('/other') });
    await webhook({ url: receiver.url('/plain') });
    for (let n = 0; n < 4; n++) await emit(`{"n":${n}}`);
    await receiver.waitFor(({ path }) => path !== '/hook', { count: 8 });
    const failed = await waitUntil('all others have failed', async () => {
      const rows = (await logs(12)).filter(({ code }) => code === 'template_failed');
      return rows.length === 4 && rows;
    });
    expect(failed[0]?.error).toMatch(/takes more than|make more than/);
    expect(receiver.requestsTo('/hook')).toEqual([]);
  });
});

test('every event of the demo is rendered by every format', async () => {
  tenant = TENANT.id;
  for (const format of PAYLOAD_FORMATS) {
    const own =
      format === 'template' ? { payload_template: '{"row": {{ data | json }}, "was": {{ previous | json }}}' } : {};
    await webhook({ payload_format: format, url: receiver.url(`/${format}`), ...own });
  }
  for (const { sql } of SCRIPT) await database.query(sql);
  const count = SCRIPT.reduce((sum, { events }) => sum + events.length, 0);
  await receiver.waitFor(count * PAYLOAD_FORMATS.length, { timeoutMs: 60_000 });
  for (const format of PAYLOAD_FORMATS) {
    const bodies = receiver.requestsTo(`/${format}`).map((request) => JSON.parse(textOf(request)));
    expect(bodies).toHaveLength(count);
  }
  expect(await database.query(`select distinct code from rowhook.webhook_logs where tenant_id = $1`, [tenant])).toEqual(
    [{ code: 'delivered' }],
  );
});

describe('SQL', () => {
  const problem = async (text: string) => {
    const [row] = await database.query<{ problem: string | null }>('select rowhook._template_problem($1) as problem', [
      text,
    ]);
    return row?.problem ?? null;
  };

  test.each([
    ['{{ data.id', '{{ is not closed; write }} behind it (line 1, column 1)'],
    ['a\nb {{ x }} {% if a', '{% is not closed; write %} behind it (line 2, column 11)'],
    ['{% if a %}{% for b in c %}{% endif %}', '{% endif %} has no beginning that it closes (line 1, column 27)'],
    ['\n {% if a %}', '{% if %} is not closed; write {% endif %} behind it (line 2, column 2)'],
    ['{% raw %} {{', '{% raw %} is not closed; write {% endraw %} behind it (line 1, column 1)'],
    ['{% include "x" %}', "'include' is not a tag that a template may use (line 1, column 1)"],
    ['{% else %}', '{% else %} does not belong to any block (line 1, column 1)'],
    ['{{ a | sample }}', "'sample' is not a filter (line 1, column 1)"],
    ['{% assign a = b | upcase | nope: 1 %}', "'nope' is not a filter (line 1, column 1)"],
  ])('refuses %j', async (text, sentence) => {
    expect(await problem(text)).toBe(sentence);
    nextTenant();
    await expect(template(text)).rejects.toThrow(`webhook_configurations.payload_template: ${sentence}.`);
  });

  const good = [
    'text } } %} {"a":{"b":1}}',
    '{"a":{{ a }}}',
    '{{ "}} | nope" }}{{- a -}}{%- if a -%}{%- endif -%}',
    `{{ a | replace: '"', "\\" | nope" }}`,
    '{% raw %}{{ {% nope %} {% endraw %}{{ a }}',
    '{% comment %}{% nope %}{{ a | nope }}{% endcomment %}',
    '{% case a %}{% when 1 %}x{% else %}y{% endcase %}{% unless a %}{% elsif b %}{% else %}{% endunless %}',
    '{% for a in b %}{% if a %}{% break %}{% endif %}{% else %}none{% endfor %}{% tablerow x in y %}{{ x }}{% endtablerow %}',
    '{% liquid\nassign a = 1\necho a | upcase\n%}{% # a remark %}{% cycle "a", "b" %}',
    '{% capture a %}b{% endcapture %}{% increment a %}{% decrement b %}{% echo a | upcase %}{% assign q = "|nope" %}',
    ...Object.values(CHAT_TEMPLATES),
  ];

  test('accepts what the library accepts', async () => {
    const renderer = new Renderer();
    for (const text of good) {
      expect([text, (await renderer.check('t', text))?.sentence ?? null]).toEqual([text, null]);
      expect([text, await problem(text)]).toEqual([text, null]);
    }
    renderer.stop();
  });

  test('knows the tags and filters of the library', async () => {
    for (const name of KNOWN.filters) expect([name, await problem(`{{ a | ${name} }}`)]).toEqual([name, null]);
    const [source] = await database.query<{ text: string }>(
      `select prosrc as text from pg_proc where proname = '_template_problem'`,
    );
    const listOf = (variable: string) => {
      const [, lists = ''] =
        new RegExp(`${variable} constant text\\[\\] :=([\\s\\S]*?);`).exec(source?.text ?? '') ?? [];
      return lists
        .replaceAll(/[\s'{}]/g, '')
        .split(',')
        .sort();
    };
    expect(listOf('v_filters')).toEqual(KNOWN.filters);
    expect(listOf('v_tags')).toEqual([...KNOWN.tags, 'else', 'elsif', 'when'].sort());
  });

  test('each value that a rule names is taken', async () => {
    nextTenant();
    await webhook({});
    for (const format of PAYLOAD_FORMATS)
      await update(`payload_format = '${format}', payload_template = ${format === 'template' ? "'x'" : 'null'}`);
    await update(
      `payload_format = 'template', payload_template = repeat('x', 16384), content_type = 'text/plain; charset=utf-8'`,
    );
    await update(`payload_template = 'x', content_type = null`);
    await update(`payload_format = 'nested', payload_template = null`);
    for (const format of ['nested', 'flat', 'cloudevents'])
      await update(`payload_format = '${format}', batch_max_events = 100`);
    await update(`payload_format = 'slack', batch_max_events = 1`);
  });

  test.each([
    [{ payload_format: 'template' }, 'template_has_format'],
    [{ payload_template: '{}' }, 'template_has_format'],
    [{ payload_format: 'template', payload_template: 'x'.repeat(16_385) }, 'template_is_small_enough'],
    [{ content_type: 'text/plain' }, 'content_type_has_template'],
    [{ payload_format: 'template', payload_template: 'x', content_type: 'text' }, 'content_type_is_valid'],
    [{ payload_format: 'template', payload_template: 'x', content_type: 'a/b\r\nx: y' }, 'content_type_is_valid'],
    [{ payload_format: 'slack', batch_max_events: 2 }, 'batch_or_template'],
    [{ payload_format: 'xml' }, 'payload_format_is_known'],
  ])('%.60j breaks the rule %s', async (columns, rule) => {
    nextTenant();
    await expect(webhook(columns)).rejects.toMatchObject({ constraint: `webhook_configurations_${rule}` });
  });
});
