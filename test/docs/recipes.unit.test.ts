// Every recipe of docs/use/payloads.md is rendered, for rows that have its columns and for rows that do not.

import { afterAll, describe, expect, test } from 'vitest';
import { Renderer } from '../../src/payload/template/renderer.ts';
import { readPage } from '../support/reference.ts';

const renderer = new Renderer();
afterAll(() => renderer.stop());

const page = readPage('docs/use/payloads.md');
const recipes = [...page.matchAll(/^### (.+)\n(?:(?!^### )[\s\S])*?^```liquid\n([\s\S]*?)\n```$/gm)].map(
  ([, title = '', template = '']) => ({ title, template }),
);

const row = {
  ...{ id: '0b1c', name: 'A & "B" <c> @everyone', email: 'ada@example.com', first_name: 'Ada', last_name: 'Byrne' },
  note: null,
};
const eventWith = (data: unknown, previous?: object) =>
  JSON.stringify({
    ...{ id: 'evt_a_1_0', event: 'contact.updated', timestamp: '2025-10-17T19:30:00.000Z' },
    ...{ organization: { id: 'acme', name: 'Acme' }, data, previous },
    metadata: { webhook_id: 'w', webhook_name: 'n', delivery_id: 'd' },
  });

async function render(template: string, event: string, isJson: boolean): Promise<string> {
  const contentType = isJson ? 'application/json' : 'text/plain';
  return renderer.render('recipes', { template, contentType, event: () => event });
}

test('there is one for each tool', () => {
  expect(recipes.map(({ title }) => title)).toEqual([
    ...['Slack', 'Discord', 'Microsoft Teams', 'Google Chat', 'HubSpot', 'Zapier', 'n8n', 'Make'],
    ...['Two fields and no more', 'A text'],
  ]);
  expect(page.match(/^```liquid$/gm)).toHaveLength(recipes.length);
});

/** What the tool gets of the row above. */
const WANTED: Record<string, unknown> = {
  Slack: { text: 'contact.updated in acme: A &amp; "B" &lt;c&gt; @everyone' },
  Discord: { content: 'contact.updated: A & "B" \\<c\\> @\u200beveryone', allowed_mentions: { parse: [] } },
  'Microsoft Teams': expect.objectContaining({ type: 'message' }),
  'Google Chat': { text: 'contact.updated: A & "B" <c> @everyone' },
  HubSpot: {
    ...{ email: 'ada@example.com', firstname: 'Ada', lastname: 'Byrne' },
    ...{ event: 'contact.updated', organization: 'acme' },
  },
  Zapier: { id: 'evt_a_1_0', event: 'contact.updated', row_id: '0b1c', email: 'ada@example.com' },
  n8n: row,
  Make: {
    ...{ event: 'contact.updated', occurred_at: '2025-10-17T19:30:00.000Z', row },
    changed: ['email', 'note'],
  },
  'Two fields and no more': { contact_id: '0b1c', email: 'ada@example.com' },
};

describe.each(recipes)('$title', ({ title, template }) => {
  const isJson = title !== 'A text';

  test('makes what the tool reads', async () => {
    const text = await render(template, eventWith(row, { email: 'old@example.com', note: 'x' }), isJson);
    if (isJson) expect(JSON.parse(text)).toEqual(WANTED[title]);
    else expect(text).toBe('contact.updated at 2025-10-17 19:30: A & "B" <c> @everyone');
  });

  test.each([[{}], [null], [{ id: 1, name: 'x'.repeat(50_000) }], [['a']], ['a text']])(
    'makes a body of any row',
    async (data) => {
      expect(await render(template, eventWith(data), isJson)).toEqual(expect.any(String));
    },
  );
});
