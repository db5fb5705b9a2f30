// Liquid templates: what they may read, what they may take, and that the same template and event give the same bytes.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { CHAT_TEMPLATES } from '../../src/payload/template/chat-templates.ts';
import { LIMITS } from '../../src/payload/template/limits.ts';
import { Renderer } from '../../src/payload/template/renderer.ts';
import { TemplateError } from '../../src/payload/template/template-error.ts';
import { discordProblems, slackProblems, teamsProblems, typeProblems } from '../support/chat-rules.ts';
import { waitUntil } from '../support/wait.ts';

const renderer = new Renderer();
afterAll(() => renderer.stop());

const bodyWith = (data: string, more = '') =>
  `{"id":"evt_a_1_0","event":"deal.updated","timestamp":"2025-10-17T19:30:00.000Z",` +
  `"organization":{"id":"acme","name":"Acme"},"data":${data}${more},` +
  `"metadata":{"webhook_id":"w","webhook_name":"n","delivery_id":"d"}}`;

function render(template: string, data = '{}', contentType = 'text/plain', owner = 'a webhook'): Promise<string> {
  return renderer.render(owner, { template, contentType, event: () => bodyWith(data) });
}

const problemOf = (template: string, data?: string, contentType?: string, owner?: string) =>
  render(template, data, contentType, owner).then(
    (text) => expect.unreachable(`it made ${text.slice(0, 100)}`),
    (error: unknown) => {
      expect(error).toBeInstanceOf(TemplateError);
      return (error as TemplateError).sentence;
    },
  );

describe('values are exact, or refused with a reason', () => {
  const digits = '1234567890123456789012345678901234567890';

  test.each([
    ['40 digits', digits],
    ['a fraction of 40 digits', `0.${digits}`],
    ['more than a double holds', '1e400'],
    ['less than a double holds', '-1e-400'],
    ['zeros at the end', '1.500'],
    ['a negative zero', '-0'],
    ['a small one', '12'],
  ])('a number: %s', async (_, number) => {
    expect(
      await render('{{ data.n }} {{ data | json }} {{ data.l | join: "," }}', `{"n":${number},"l":[${number}]}`),
    ).toBe(`${number} {"n":${number},"l":[${number}]} ${number}`);
  });

  test('an exact number compares and counts as a number', async () => {
    const template =
      '{% if data.n > 1 %}a{% endif %}{% if data.n == 1.5 %}b{% endif %}{% if 2 >= data.n %}c{% endif %}{{ data.n | plus: 1 }}';
    expect(await render(template, '{"n":1.50}')).toBe('abc2.5');
  });

  test('\\u0000 and half a character go through json, and are refused without it', async () => {
    const data = '{"nul":"\\u0000","half":"\\ud800"}';
    const escaped = await render('[{{ data.nul | json }},{{ data.half | json }}]', data, 'application/json');
    expect(escaped).toBe('["\\u0000","\\ud800"]');
    expect(await problemOf('{{ data.half }}', data)).toMatch('half of a character');
    expect(await problemOf('"{{ data.nul }}"', data, 'application/json')).toMatch('the output is not JSON');
  });

  test('a date before Christ stays as it is, and is no date', async () => {
    const data = '{"day":"0044-03-15 BC"}';
    expect(await render('{{ data.day }} {{ data.day | date: "%Y" }}', data)).toBe('0044-03-15 BC 0044-03-15 BC');
  });

  test('a row of 5 MB: its other columns are there, and more than 1 MiB of output is refused', async () => {
    const data = JSON.stringify({ id: 7, text: 'x'.repeat(5_000_000) });
    expect(await render('{{ data.id }} {{ data.text | truncate: 8 }}', data)).toBe('7 xxxxx...');
    expect(await problemOf('{{ data.text }}', data)).toMatch('the output has more than 1 MiB');
  });

  test('what is missing is empty, and null with json', async () => {
    expect(await render('[{{ data.nothing }}][{{ data.nothing | json }}][{{ nothing.at.all }}]')).toBe('[][null][]');
  });

  test.each(['application/json', 'application/vnd.acme+json; charset=utf-8'])('output of %s is JSON', async (type) => {
    expect(await render('{"a": {{ data.a | json }}}', '{"a":"\\"1\\""}', type)).toBe('{"a": "\\"1\\""}');
    const problem = await problemOf('{"a": "{{ data.a }}"}', '{"a":"secret\\""}', type);
    expect(problem).toMatch(/^the output is not JSON( at character \d+)?\. Write values with the filter json/);
    expect(problem).not.toMatch('secret');
  });
});

describe('rendering is a function of template and event', () => {
  const dates =
    '{{ now }} {{ "now" | date: "%Y-%m-%d %H:%M:%S %z" }} {{ data.at | date: "%Y-%m-%d %H:%M:%S %z" }} {{ data.local | date: "%Y-%m-%d %H:%M:%S" }} ' +
    '{{ data.pg | date: "%H:%M:%S" }} {{ data.local | date: "%c" }} {{ data.day | date: "%A" }} {{ data.at | date: "%H:%M:%S", "Asia/Tokyo" }}';
  const data =
    '{"at":"2025-10-17T21:30:00+02:00","local":"2025-03-30T02:30:00","pg":"2025-10-17 21:30:00.123+02","day":"2025-10-17"}';
  const wanted =
    '2025-10-17T19:30:00.000Z 2025-10-17 19:30:00 +0000 2025-10-17 19:30:00 +0000 2025-03-30 02:30:00 ' +
    '19:30:00 3/30/2025, 2:30:00 AM Friday 04:30:00';

  // 02:30 on that day does not exist in Berlin.
  test.each(['UTC', 'Europe/Berlin', 'America/New_York'])('the zone of the machine is %s', async (zone) => {
    const before = process.env.TZ;
    process.env.TZ = zone;
    const own = new Renderer();
    try {
      expect(await own.render('w', { template: dates, contentType: 'text/plain', event: () => bodyWith(data) })).toBe(
        wanted,
      );
    } finally {
      own.stop();
      if (before === undefined) delete process.env.TZ;
      else process.env.TZ = before;
    }
  });

  test('nothing is drawn at random', async () => {
    expect(await problemOf('{{ data.l | sample }}', '{"l":[1,2]}')).toBe('undefined filter: sample (line 1, column 1)');
  });
});

describe('a hostile template', () => {
  const list = `{"l":[${'1,'.repeat(20_000)}1],"t":"${'a'.repeat(100_000)}"}`;
  test.each([
    ['loops a million times', '{% for i in (1..1000000) %}{{ i }}{% endfor %}'],
    [
      'loops in loops',
      '{% for a in data.l %}{% for b in data.l %}{% for c in data.l %}{% endfor %}{% endfor %}{% endfor %}',
    ],
    ['counts to a billion', '{% for i in (1..1000000000) %}{% endfor %}'],
    ['prints 1 GB', '{% for i in (1..10000) %}{{ data.t }}{% endfor %}'],
    [
      'keeps 1 GB',
      '{% assign s = "aaaaaaaa" %}{% for i in (1..40) %}{% assign s = s | append: s %}{% endfor %}{{ s }}',
    ],
    [
      'captures 1 GB',
      '{% for i in (1..40) %}{% capture s %}{{ s }}{{ s }}aaaa{% endcapture %}{% endfor %}{{ s | size }}',
    ],
    ['replaces its way to 1 GB', '{{ data.t | replace: "a", data.t | replace: "a", data.t }}'],
    ['pads a date to 1 GB', '{{ now | date: "%999999999d" }}'],
    ['joins 1 GB', '{{ data.l | join: data.t | size }}'],
    ['includes a file', '{% include "/etc/passwd" %}'],
    ['renders a file', '{% render "/etc/passwd" %}'],
    ['has a layout', '{% layout "/etc/passwd" %}'],
    [
      'is nested 3,000 levels deep',
      '{%if a%}'.repeat(1_000) + '{%endif%}'.repeat(1_000) + '{{ "a" | no_such_filter }}',
    ],
    [
      'sorts and sorts',
      '{% for i in data.l %}{% assign x = data.l | sort | reverse | sort_natural | uniq %}{% endfor %}',
    ],
  ])('that %s ends with a reason, within its bounds', async (name, template) => {
    expect(await problemOf(template, list, 'text/plain', name)).toMatch(/\S/);
    expect(await render('{{ data.n }}', '{"n":1}', 'text/plain', 'a neighbour')).toBe('1');
  });

  test('reads no prototype', async () => {
    const paths = [
      ...[
        'constructor',
        'data.constructor',
        'data.__proto__',
        'data.l.constructor',
        'data.n.constructor',
        'data.n.equals',
      ],
      ...['data.s.constructor', 'data.l.push', 'data["toString"]', 'organization.hasOwnProperty', 'data.n.valueOf'],
    ];
    const template = paths.map((path) => `{{ ${path} }}`).join('|');
    expect(await render(template, '{"l":[1],"n":1.50,"s":"a"}')).toBe('|'.repeat(paths.length - 1));
    const loop =
      '{% for i in data.l %}{{ forloop.constructor }}{{ forloop.__proto__ | json }}{{ forloop.index }}{% endfor %}';
    expect(await render(loop, '{"l":[1,2]}')).toBe('null1null2');
    expect(await render('{{ data.constructor }}{{ data.size }}', '{"constructor":"mine","size":"own"}')).toBe(
      'mineown',
    );
  });

  test('of a tenant with many webhooks is rendered in turns with those of other tenants', async () => {
    const ended: string[] = [];
    const job = (tenant: string, n: number) =>
      renderer
        .render(
          `${tenant} ${n}`,
          { template: '{{ data.n }}', contentType: 'text/plain', event: () => bodyWith('{}') },
          tenant,
        )
        .then(() => ended.push(tenant));
    const busy = Array.from({ length: 50 }, (_, n) => job('busy', n));
    await Promise.all([job('quiet', 0), job('quiet', 1)]);
    // One was begun before, and one comes between the two.
    expect(ended.filter((tenant) => tenant === 'busy').length).toBeLessThanOrEqual(3);
    await Promise.all(busy);
  });

  test('takes no time from others: its webhook is rendered apart after the first time', async () => {
    const endless = '{% for a in data.l %}{% assign x = data.l | sort_natural | join: data.t %}{% endfor %}';
    // Each is another template, so none is paused.
    const attacks = Array.from({ length: 20 }, (_, n) => problemOf(endless + n, list, 'text/plain', 'the attacker'));
    await attacks[0];
    let slowest = 0;
    for (let i = 0; i < 50; i++) {
      const startedAt = performance.now();
      await render('{{ data.n }}', `{"n":${i}}`, 'text/plain', 'a neighbour');
      slowest = Math.max(slowest, performance.now() - startedAt);
    }
    // The attacks are still going on: they take turns, and their thread rests between them.
    expect(await Promise.race([Promise.all(attacks), 'going on'])).toBe('going on');
    expect(slowest).toBeLessThan(5_000);
    await Promise.all(attacks);
  });
});

// Only a lower bound: a busy machine takes longer.
test('templates that reach their limit each time get half of a core at most', async () => {
  // Each is another template, so none is paused.
  const attack = (n: number) =>
    problemOf(
      `{% for a in (1..1000) %}{% for b in (1..1000000) %}{{ a }}${n}{% endfor %}{% endfor %}`,
      '{}',
      'text/plain',
      'one that never ends',
    );
  await attack(0);
  await attack(1);
  const count = 5;
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: count }, (_, n) => attack(n)));
  expect(performance.now() - startedAt).toBeGreaterThan(0.9 * (count - 1) * 2 * LIMITS.renderMs);
});

describe('a template that reaches its limit three times in a row', () => {
  const endless = '{% for a in (1..1000) %}{% for b in (1..1000000) %}{{ a }}{% endfor %}{% endfor %}';
  const paused = /^rendering reached its limit \d+ times in a row, so it is not tried for \d+ s$/;

  test('is not tried for a while: what waits and what comes fails at once, with a reason', async () => {
    const problems = await Promise.all(
      Array.from({ length: 30 }, () => problemOf(endless, '{}', 'text/plain', 'one without end')),
    );
    const tried = problems.filter((problem) => !paused.test(problem));
    expect(tried).toHaveLength(3);
    // 20 ms of the processor, or twice 250 ms by the clock on a busy machine
    for (const problem of tried) expect(problem).toMatch(/^rendering takes more than (20|250) ms/);
    expect(await problemOf(endless, '{}', 'text/plain', 'one without end')).toMatch(paused);
  });

  test('is tried again when it was mended, and later', async () => {
    const owner = 'one that is mended';
    for (let n = 0; n < 3; n++) await problemOf(endless, '{}', 'text/plain', owner);
    expect(await problemOf(endless, '{}', 'text/plain', owner)).toMatch(paused);
    expect(await render('{{ data.n }}', '{"n":1}', 'text/plain', owner)).toBe('1');
    for (let n = 0; n < 3; n++) await problemOf(endless, '{}', 'text/plain', owner);
    await waitUntil(
      'it is tried once more',
      async () => !paused.test(await problemOf(endless, '{}', 'text/plain', owner)),
    );
    expect(await problemOf(endless, '{}', 'text/plain', owner)).toMatch(/4 times in a row/);
  });
});

describe('a broken template is refused with line and column', () => {
  test.each([
    ['{{ data.id', 'output "{{ data.id" not closed (line 1, column 1)'],
    ['a\n{% if data.id %}', 'tag {% if data.id %} not closed (line 2, column 1)'],
    ['{{ data.id | nope }}', 'undefined filter: nope (line 1, column 1)'],
    ['\n\n  {% nope %}', 'tag "nope" not found (line 3, column 3)'],
    ['{% include "x" %}', 'tag "include" not found (line 1, column 1)'],
    ['x'.repeat(16_385), 'the template has 16385 bytes, and may have 16384'],
    ['ä'.repeat(8_193), 'the template has 16386 bytes, and may have 16384'],
  ])('%.20j', async (template, sentence) => {
    expect((await renderer.check('a person', template))?.sentence).toBe(sentence);
  });

  test('a good one has no problem', async () => {
    expect(await renderer.check('a person', '{{ data.id | json }}')).toBeNull();
  });
});

describe('a chat message', () => {
  const name = '<!channel> & <@U1> @everyone **x** [a](https://evil.example) "q" \\u0000';
  const rows = Array.from({ length: 40 }, (_, i) => `"column_${i}":"${'<&>'.repeat(500)}"`).join();
  const samples = [
    '{}',
    'null',
    '"a text"',
    '[1,2]',
    `{"id":7,"name":"${name.replaceAll('"', '\\"')}","empty":"","n":null,"big":1e400,"o":{"a":[1.10]}}`,
    `{${rows}}`,
    JSON.stringify(
      Object.fromEntries(Array.from({ length: 12 }, (_, i) => ['@everyone'.repeat(30) + i, '@everyone'.repeat(400)])),
    ),
  ];
  const messageOf = async (format: keyof typeof CHAT_TEMPLATES, data: string) => {
    const event = () =>
      bodyWith(data, ',"previous":{"name":"x"},"test":true').replace(
        '"Acme"',
        JSON.stringify('<!here> @everyone '.repeat(40)),
      );
    const text = await renderer.render('w', {
      template: CHAT_TEMPLATES[format],
      contentType: 'application/json',
      event,
    });
    return { text, message: JSON.parse(text) };
  };

  test.each(samples)('slack: %.60s', async (data) => {
    const { text, message } = await messageOf('slack', data);
    expect(slackProblems(message)).toEqual([]);
    // <!channel>, <@U1> and links are commands of Slack.
    expect(text).not.toMatch(/[<>]|&(?!amp;|lt;|gt;)/);
  });

  test.each(samples)('discord: %.60s', async (data) => {
    const { text, message } = await messageOf('discord', data);
    expect(discordProblems(message)).toEqual([]);
    expect(text).not.toMatch(/@(everyone|here)/);
    expect(text).not.toMatch(/(?<!\\)[<>[\]]\(?https?:/);
  });

  test.each(samples)('teams: %.60s', async (data) => {
    const { text, message } = await messageOf('teams', data);
    expect(teamsProblems(message)).toEqual([]);
    expect(text).not.toMatch(/@everyone/);
  });

  test('has the types that Slack and Discord publish', async () => {
    const all = (format: keyof typeof CHAT_TEMPLATES) =>
      Promise.all(samples.map(async (data) => (await messageOf(format, data)).message));
    const [slack, discord] = [await all('slack'), await all('discord')];
    expect(await typeProblems(slack, discord)).toBe('');
    const [{ blocks }] = slack;
    expect(await typeProblems([{ text: 'x', blocks: [{ ...blocks[0], nope: 1 }] }], [])).toContain('"nope"');
  });

  test('what breaks a rule is found', () => {
    const header = { type: 'header', text: { type: 'plain_text', text: 'x'.repeat(151) } } as const;
    expect(slackProblems({ text: 'x', blocks: [header] })).toEqual(['header: 151 of 1 to 150']);
    const message = { embeds: [{ title: 'x'.repeat(257) }], allowed_mentions: { parse: [] } };
    expect(discordProblems(message)).toHaveLength(1);
    const content = { type: 'AdaptiveCard', version: '1.4', body: [{ type: 'TextBlock', text: 'x', size: 'Huge' }] };
    const contentType = 'application/vnd.microsoft.card.adaptive';
    expect(teamsProblems({ type: 'message', attachments: [{ contentType, content }] })).toEqual([
      expect.stringContaining('"Huge"'),
    ]);
  });

  test('it shows the values of the row', async () => {
    const { message } = await messageOf('slack', samples[4] as string);
    const texts = message.blocks[1].fields.map(({ text }: { text: string }) => text);
    expect(texts).toContain('*big*\n1e400');
    expect(texts).toContain('*o*\n{"a":[1.10]}');
    expect(texts[1]).toMatch('*name*\n&lt;!channel&gt; &amp; &lt;@U1&gt;');
  });
});

test('threads keep a process alive while they render, and no longer', async () => {
  const renderer = join(import.meta.dirname, '../../src/payload/template/renderer.ts');
  const job = `{ template: '{{ data.a }}', contentType: 'text/plain', event: () => '{"data":{"a":1}}' }`;
  const program = `const { Renderer } = await import(${JSON.stringify(renderer)}); console.log(await new Renderer().render('w', ${job}));`;
  const options = { timeout: 60_000, env: { PATH: process.env.PATH } };
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], options);
  expect(stdout).toBe('1\n');
});
