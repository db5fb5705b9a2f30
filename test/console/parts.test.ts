// Parts of the console that look ahead or aside: inbound webhooks, the catalog, a filter and a body
// before they are saved, a file of the log, the addresses that we send from.

import { readFile } from 'node:fs/promises';
import type { Download, Page } from 'playwright-core';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasNoBrowser } from '../support/browser.ts';
import { ConsoleScene, close, judge, judgeNarrow } from '../support/console.ts';
import { waitUntil } from '../support/wait.ts';

const EGRESS = ['198.51.100.7', '2001:db8::7'];
const scene = new ConsoleScene();

beforeAll(async () => {
  if (!hasNoBrowser) await scene.start({ egressIps: EGRESS });
});
afterAll(() => scene.stop());

describe.skipIf(hasNoBrowser)('inbound webhooks', () => {
  const statusOf = async (id: string) => {
    const { body } = await scene.ask('GET', '/integration-events');
    return body.data?.find((event) => event.id === id)?.status;
  };

  async function send(url: string, secret: string, body: string) {
    const [id, time] = [`msg_${Math.random()}`, new Date()];
    const headers = {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(time.getTime() / 1_000)),
      'webhook-signature': new Webhook(secret).sign(id, time, body),
    };
    const answer = await fetch(url, { method: 'POST', headers, body });
    return { status: answer.status, id: ((await answer.json()) as { id: string }).id };
  }

  test('a source is made, its events are shown, one is processed again, and the source is removed', async () => {
    const page = await scene.visit('/inbound');
    await page.getByText('Nothing has come yet').waitFor();
    await judge(page);
    await page.getByRole('link', { name: 'Set up a source' }).click();
    await page.getByRole('button', { name: 'Create source' }).click();
    await page.getByLabel('Name', { exact: true }).fill('not a name');
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    await page.getByText('in parts joined by dots').waitFor();
    await page.getByLabel('Name', { exact: true }).fill('billing');
    await judge(page);
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    const secret = await page.locator('.secret').innerText();
    const url = await page
      .getByRole('row', { name: /billing/ })
      .locator('.mono')
      .innerText();
    expect(url).toMatch(/^http:.*\/api\/v1\/webhooks\/receive\/src_/);
    await judge(page);
    await judgeNarrow(page);

    const sent = await send(url, secret, '{"type": "invoice.paid", "amount": 12345678901234567890, "note": "<b>"}');
    expect(sent.status).toBe(201);
    await page.getByRole('tab', { name: 'Events' }).click();
    await page.getByRole('button', { name: /Received invoice\.paid/ }).click();
    await page.getByText('12345678901234567890').last().waitFor();
    expect(page.url()).toContain(`event=${sent.id}`);

    await scene.ask('POST', '/integration-events/claim', {});
    await scene.ask('POST', `/integration-events/${sent.id}/fail`, { error: 'No such invoice' });
    await page.getByText('No such invoice').waitFor();
    await judge(page);
    await judgeNarrow(page);
    await page.getByRole('button', { name: 'Let it be processed again' }).click();
    await waitUntil('it can be claimed', async () => (await statusOf(sent.id)) === 'received');
    await page.getByLabel('Status').selectOption('processed');
    await page.getByText('None fits').waitFor();

    await page.getByRole('tab', { name: 'Sources' }).click();
    await page.getByRole('button', { name: 'New secret for billing' }).click();
    await page.getByRole('button', { name: 'Make it' }).click();
    await page.getByText('The old secret works until').waitFor();
    const fresh = await page.locator('.secret').innerText();
    expect(fresh).not.toBe(secret);
    expect((await send(url, fresh, '{"type":"invoice.sent"}')).status).toBe(201);

    await page.getByRole('button', { name: 'Delete billing' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByText('There is no source yet').waitFor();
    expect((await send(url, fresh, '{"type":"invoice.sent"}')).status).toBe(410);
    await close(page);
  });

  test('who may only read sees no button that writes', async () => {
    const page = await scene.visit('/inbound/sources', { token: scene.reader });
    await page.getByText('There is no source yet').waitFor();
    expect(await page.getByRole('button', { name: /Create|New secret|Delete/ }).count()).toBe(0);
    await close(page);
  });
});

describe.skipIf(hasNoBrowser)('events that may come', () => {
  test('the catalog has fields, schema and a sample, and leads to a webhook', async () => {
    const page = await scene.visit('/events/catalog');
    await page.getByLabel('Search').fill('deal');
    await page.getByLabel('Search').press('Enter');
    await page.getByRole('button', { name: /^deal\.created/ }).click();
    await page.getByText('Sample of data').waitFor();
    await page.getByText('JSON Schema', { exact: true }).click();
    await page.getByText('"$schema"').waitFor();
    expect(new URL(page.url()).search).toBe('?q=deal&type=deal.created');
    await judge(page);
    await judgeNarrow(page);
    await page.getByRole('link', { name: 'Create a webhook for it' }).click();
    await page.getByRole('button', { name: 'Remove deal.created' }).waitFor();
    await close(page);
  });

  test('a filter is tried on a recent event, and a template shows its body, before anything is saved', async () => {
    await scene.createWebhook({ name: 'All', target_url: scene.receiver.url('/all'), event_types: ['order.*'] });
    await scene.emit('order.paid', { total: 120, by: 'Ada' });
    const page = await scene.visit('/webhooks/new?event_type=order.paid');
    await page.getByText('Filter', { exact: true }).click();
    await page.getByText('This event is sent.').waitFor();
    await page.getByLabel('Conditions').fill('{"data.total": {"$gt": 500}}');
    await page.getByText(/This event is not sent:.*data\.total/).waitFor();
    await page.getByLabel('Conditions').fill('{"data.total": {"$gt": 100}}');
    await page.getByText('This event is sent.').waitFor();
    await page.getByLabel('Conditions').fill('{"data.total": {"$near": 1}}');
    await page.getByText(/filter.*\$near/).waitFor();
    await page.getByLabel('Conditions').fill('');

    await page.getByText('Format', { exact: true }).click();
    await page.getByText('"event": "order.paid"').waitFor();
    await page.getByLabel('Body', { exact: true }).selectOption('slack');
    await page.getByText('"text":').waitFor();
    await page.getByLabel('Body', { exact: true }).selectOption('template');
    await page.getByLabel('Template').fill('{"who": {{ data.by | json }}');
    await page.getByText(/makes no body of this event/).waitFor();
    await page.getByLabel('Template').fill('{"who": {{ data.by | json }}}');
    await page.getByText('"who": "Ada"').waitFor();
    await page.getByLabel('Template').fill('{% nothing %}');
    await page.getByText(/payload template.*nothing/).waitFor();
    await page.getByLabel('Template').fill('{"who": {{ data.by | json }}}');
    await page.getByText('"who": "Ada"').waitFor();
    await judge(page);

    // The server judges a URL as its daemon will.
    await page.getByLabel('Target URL').fill('https://192.168.0.1/in');
    await page.getByText(/private/).waitFor();
    await close(page);
  });
});

describe.skipIf(hasNoBrowser)('for whoever works with it', () => {
  test('without a receiver, a test URL shows what a webhook sends', async () => {
    const page = await scene.visit('/webhooks/new?event_type=deal.won');
    await page.getByLabel('Name').fill('Try');
    await page.getByRole('button', { name: 'Use a test URL' }).click();
    await page.getByText('This is a test URL of our own').waitFor();
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    await page.getByRole('tab', { name: 'Test' }).click();
    await page.getByText('Nothing has arrived yet').waitFor();
    await page.getByRole('button', { name: 'Send test' }).click();
    const arrived = page.getByRole('region', { name: 'Test URL' });
    await arrived.getByText('webhook-signature', { exact: true }).waitFor();
    await arrived.getByText('"event": "deal.won"').waitFor();
    await judge(page);
    await scene.database.query("update rowhook.test_urls set expires_at = now() - interval '1 s'");
    await page.getByText('This test URL has ended').waitFor();
    await close(page);
  });

  test('what the filters show is exported, all pages of it, and no cell is a formula', async () => {
    const id = await scene.createWebhook({
      name: 'Log',
      target_url: scene.receiver.url('/log'),
      event_types: ['x.y'],
      is_active: false,
    });
    await scene.database.query(
      `insert into rowhook.webhook_logs (webhook_id, tenant_id, delivery_id, event_id, event_type, attempt, status, code,
                                         error, attempted_at, request_url, lane)
       select $1, 'acme', gen_random_uuid(), 'evt_0_' || n || '_0', 'x.y', 1,
              case when n % 100 = 0 then 'skipped' else 'failed' end, 'timeout',
              '=HYPERLINK("http://evil")', now() - n * interval '1 second', '', 0
         from generate_series(1, 1200) as n`,
      [id],
    );
    const page = await scene.visit(`/webhooks/${id}/deliveries?status=failed&live=off`);
    await page.getByRole('button', { name: 'Export…' }).click();
    await judge(page);
    const csv = await textOf(page);
    const [head, ...lines] = csv.trimEnd().split('\r\n');
    expect(head).toMatch(/^attempted_at,event_type,status,code,/);
    expect(lines).toHaveLength(1_188);
    expect(new Set(lines.map((line) => line.split(',')[2]))).toEqual(new Set(['failed']));
    expect(lines[0]).toContain(`"'=HYPERLINK(""http://evil"")"`);
    await page.getByText('1,188 rows were saved.').waitFor();
    await page.getByLabel('Format').selectOption('json');
    expect(JSON.parse(await textOf(page))).toHaveLength(1_188);
    await close(page);
  });

  async function textOf(page: Page): Promise<string> {
    const [download] = await Promise.all([
      page.waitForEvent('download') as Promise<Download>,
      page.getByRole('button', { name: 'Save as a file' }).click(),
    ]);
    expect(download.suggestedFilename()).toMatch(/^attempts\.(csv|json)$/);
    return readFile(await download.path(), 'utf8');
  }

  test('Help lists the addresses that we send from', async () => {
    const page = await scene.visit('/help');
    for (const address of EGRESS) await page.getByText(address, { exact: true }).waitFor();
    await judge(page);
    await close(page);
  });
});

test.skipIf(hasNoBrowser)('no page has logged an error: no refusal by the policy, no exception', () => {
  // 422 and 410 were asked for, and a test URL has ended
  expect(scene.complaints.filter((text) => !/status of (422|410)|status of 404 .*test-urls/.test(text))).toEqual([]);
});
