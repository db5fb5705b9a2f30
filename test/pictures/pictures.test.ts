// Every page of the console, wide and narrow, light and dark. The pictures of whole pages go to
// .rowhook/pictures; those that documents show, as high as a window, to docs/console.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ORGANIZATIONS, startCrm } from '../../examples/crm/server.ts';
import { createKey, startTestApi } from '../support/api.ts';
import { ConsoleScene, close, type Visit } from '../support/console.ts';
import { waitUntil } from '../support/wait.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, '.rowhook/pictures');

/** Which picture a document shows, and as what. */
const OF_DOCUMENTS: Readonly<Record<string, string>> = {
  'webhooks-light': 'webhooks',
  'delivery-light': 'delivery',
  'overview-dark': 'overview',
  'preview-light': 'preview',
  'inbound-light': 'inbound',
  embedded: 'embedded',
};

const scene = new ConsoleScene();
/** Of the example, whose settings page embeds the console. */
const { id: acme = '' } = ORGANIZATIONS[0] ?? {};
let [works, fails, delivery, event, inbound] = ['', '', '', '', ''];

async function takeOf(page: Page, name: string): Promise<void> {
  const shown = OF_DOCUMENTS[name];
  if (shown !== undefined)
    await page.screenshot({ path: join(root, 'docs/console', `${shown}.png`), animations: 'disabled' });
  // A dialog is as high as the window.
  const isWhole = (await page.getByRole('dialog').count()) === 0;
  if (isWhole) await page.evaluate("window.scrollTo({ top: 0, behavior: 'instant' })");
  await page.screenshot({ path: join(folder, `${name}.png`), animations: 'disabled', fullPage: isWhole });
}

const WEBHOOKS = [
  { name: 'Support desk', path: '/support', event_types: ['company.*', 'contact.*'], payload_format: 'flat' },
  { name: 'Sales channel', path: '/sales', event_types: ['deal.stage.changed'], payload_format: 'slack' },
  { name: 'Data warehouse', path: '/warehouse', event_types: ['*'] },
  { name: 'CRM of the sales team', path: '/crm', event_types: ['deal.*', 'contact.*'] },
];

/** A day of attempts in the rollup, so that charts and sparklines have something to show. */
const fillDay = (id: string, failing: boolean) =>
  scene.database.query(
    `insert into rowhook.webhook_minutes (webhook_id, minute, tenant_id, success, failed, skipped, durations, last_attempt_at)
     select $1, date_trunc('minute', now()) - n * interval '10 minutes', $3,
            (9 + 7 * sin(n / 22.0) + (n * 7919) % 5)::int * case when $2 and n < 9 then 0 else 1 end,
            case when $2 and n < 9 then 6 when n % 31 = 0 then 2 else 0 end, 0,
            array_fill(0, array[8]) || array[3 + n % 4, 5, 2, 1 + n % 2] || array_fill(0, array[16]),
            now() - n * interval '10 minutes'
       from generate_series(1, 143) as n
     on conflict do nothing`,
    [id, failing, acme],
  );

async function makeWebhooks(): Promise<void> {
  scene.receiver.respond('/warehouse', {
    status: 503,
    headers: { 'content-type': 'application/json', 'retry-after': '120' },
    body: '{"error":"warehouse_loading","message":"The nightly load is running. Try again later."}',
  });
  for (const { path, ...fields } of WEBHOOKS) {
    const id = await scene.createWebhook({ ...fields, target_url: scene.receiver.url(path) });
    await fillDay(id, path === '/warehouse');
    if (path === '/crm') works = id;
    if (path === '/warehouse') fails = id;
  }
  const old = await scene.createWebhook({
    name: 'Old reporting',
    target_url: 'https://reports.example.com/hooks',
    event_types: ['*'],
    is_active: false,
  });
  await fillDay(old, false);
}

async function changeRows(): Promise<void> {
  const deals = ['Fleet renewal', 'Warehouse racks', 'Annual support', 'Forklift lease', 'Site survey'];
  for (const title of deals)
    await scene.database.query('insert into deals (organization_id, title, value) values ($1, $2, $3)', [
      acme,
      title,
      1200.5 * title.length,
    ]);
  await scene.database.query("update deals set stage = 'won' where title = 'Fleet renewal'");
  const attempts = async (id: string) =>
    (await scene.ask('GET', `/outgoing-webhooks/${id}/deliveries`)).body.data ?? [];
  await waitUntil('they were tried', async () => (await attempts(works)).length >= 7);
  await waitUntil('the warehouse refused', async () => (await attempts(fails)).length >= 3);
  const [attempt] = await attempts(fails);
  [delivery, event] = [attempt?.delivery_id as string, attempt?.event_id as string];
}

async function receive(): Promise<void> {
  const { body: source } = await scene.ask('POST', '/inbound-sources', { name: 'billing', verification: 'stripe' });
  await scene.ask('POST', '/inbound-sources', { name: 'repository', verification: 'github' });
  const { body: own } = await scene.ask('POST', '/inbound-sources', {
    name: 'forms',
    verification: 'standard_webhooks',
  });
  const events = ['lead.captured', 'lead.captured', 'form.abandoned', 'lead.captured'];
  for (const [n, type] of events.entries()) {
    const body = JSON.stringify({ type, email: `ada${n}@example.com`, campaign: 'spring', score: 40 + n });
    const time = new Date();
    await fetch(new URL(own.url as string, scene.api.url), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'webhook-id': `msg_${n}`,
        'webhook-timestamp': String(Math.floor(time.getTime() / 1_000)),
        'webhook-signature': new Webhook(own.secret as string).sign(`msg_${n}`, time, body),
      },
      body,
    });
  }
  expect(source.id).toMatch(/^src_/);
  const claimed = (await scene.ask('POST', '/integration-events/claim', { max_count: 3 })).body.data ?? [];
  const [first, second, third] = claimed.map(({ id }) => id as string);
  await scene.ask('POST', `/integration-events/${first}/complete`, {});
  await scene.ask('POST', `/integration-events/${second}/complete`, {});
  await scene.ask('POST', `/integration-events/${third}/fail`, { error: 'No campaign has the name "spring".' });
  inbound = third ?? '';
}

beforeAll(async () => {
  await mkdir(folder, { recursive: true });
  await scene.start({ egressIps: ['198.51.100.7', '198.51.100.8'] }, acme);
  await scene.api.ask('PUT', `/v1/organizations/${acme}`, {
    token: scene.operator,
    body: { name: 'Acme', slug: 'acme' },
  });
  await makeWebhooks();
  await changeRows();
  await receive();
});
afterAll(() => scene.stop());

type Shot = [name: string, path: string, shows: string, act?: (page: Page) => Promise<unknown>];

const shots = (): Shot[] => [
  ['webhooks', '/webhooks', 'Data warehouse'],
  ['create', '/webhooks/new', 'deal.stage.changed'],
  ['preview', '/webhooks/new?event_type=deal.created', 'deal.created', openPreview],
  ['overview', `/webhooks/${fails}`, 'Answers to the last'],
  ['deliveries-of', `/webhooks/${works}/deliveries`, 'deal.created'],
  ['test', `/webhooks/${works}/test`, 'Send test', (page) => page.getByPlaceholder('deal.assigned').waitFor()],
  ['tested', `/webhooks/${works}/test`, 'Send test', sendTest],
  ['settings', `/webhooks/${works}/settings`, 'contact.assigned'],
  ['secret', `/webhooks/${works}/secret`, 'Receiver in Node'],
  ['replay', `/webhooks/${works}/replay`, 'Count them'],
  ['deliveries', '/deliveries', 'Data warehouse'],
  ['retry', '/deliveries', 'Data warehouse', askToRetry],
  ['delivery', `/deliveries/${delivery}`, 'Verify the signature'],
  ['events', '/events', 'deal.created'],
  ['catalog', '/events/catalog?type=deal.created', 'Sample of data'],
  ['inbound', `/inbound?event=${inbound}`, 'No campaign'],
  ['sources', '/inbound/sources', 'repository'],
  ['keys', '/api-keys', 'Never'],
  ['changes', '/changes', 'Data warehouse'],
  ['help', '/help', 'Receiver in Node'],
  ['found', `/events?id=${event}&event=${event}`, event, explain],
  ['foreign', '/o/globex/webhooks', 'another organization'],
  ['not-there', `/webhooks/${delivery}`, 'It is not here'],
];

async function sendTest(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Send test' }).click();
  await page.getByText('The receiver accepted it.').waitFor();
}

async function askToRetry(page: Page): Promise<void> {
  for (const n of [0, 1]) await page.getByRole('checkbox').nth(n).check();
  await page.getByRole('button', { name: 'Retry selected (2)' }).click();
  await page.getByRole('dialog', { name: 'Retry 2 deliveries?' }).waitFor();
}

async function explain(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Explain why it is sent, or not' }).click();
  await page.getByRole('link', { name: 'Open the delivery' }).first().waitFor();
}

async function openPreview(page: Page): Promise<void> {
  await page.getByLabel('Name').fill('Sales channel');
  await page.getByText('Format', { exact: true }).click();
  await page.getByLabel('Body', { exact: true }).selectOption('template');
  await page.getByLabel('Template').fill('{"text": "New deal: {{ data.title }} ({{ data.value }})"}');
  await page.getByText('New deal: Site survey').waitFor();
  // At once: a picture in the middle of a movement has a part of the page at another place.
  await page.evaluate("window.scrollTo({ top: document.body.scrollHeight, behavior: 'instant' })");
}

const LOOKS: Visit[] = [
  { width: 1440, theme: 'light' },
  { width: 1440, theme: 'dark' },
  { width: 360, theme: 'light' },
  { width: 360, theme: 'dark' },
];

test.each(LOOKS)('$width, $theme', async ({ width = 1440, theme = 'light' }) => {
  const page = await scene.visit('/webhooks', { width, theme });
  const suffix = width === 360 ? `${theme}-360` : theme;
  for (const [name, path, shows, act] of shots()) {
    await page.goto(scene.address(path));
    await page.locator('#content').getByText(shows).first().waitFor();
    await act?.(page);
    await takeOf(page, `${name}-${suffix}`);
  }
  await close(page);
  const operator = await scene.visit('/organizations', { width, theme, token: scene.operator });
  await operator.getByRole('link', { name: 'Acme' }).waitFor();
  await takeOf(operator, `organizations-${suffix}`);
  await operator.getByRole('link', { name: 'Acme' }).click();
  await operator.getByText('Data warehouse').waitFor();
  await takeOf(operator, `acting-${suffix}`);
  await operator.goto(scene.address('/status'));
  await operator.getByRole('heading', { name: 'Daemons' }).waitFor();
  await takeOf(operator, `status-${suffix}`);
  await close(operator);
  const first = await scene.visit('/webhooks', { width, theme, token: await createKey(scene.database, 'new') });
  await first.getByText('Your first webhook takes a minute').waitFor();
  await takeOf(first, `first-${suffix}`);
  await close(first);
  const out = await scene.browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: theme,
  });
  const signIn = await scene.open(out, '/');
  await signIn.getByLabel('API key').waitFor();
  await takeOf(signIn, `sign-in-${suffix}`);
  await out.close();
});

test.each([
  ['embedded', ['http://127.0.0.1:*'], 'Data warehouse'],
  ['refused', ['https://app.example.com'], 'ROWHOOK_FRAME_ANCESTORS'],
])('%s in an application', async (name, frameAncestors, shows) => {
  const settings = { allowHttp: true, allowCidrs: ['127.0.0.0/8'], frameAncestors };
  const framed = await startTestApi(scene.database, settings);
  const crm = await startCrm({
    databaseUrl: scene.database.url,
    rowhookUrl: framed.url,
    rowhookKey: scene.operator,
    port: 0,
  });
  try {
    const context = await scene.browser.newContext({ viewport: { width: 1280, height: 820 } });
    const page = await context.newPage();
    await page.goto(crm.url);
    await page.getByRole('button', { name: `Sign in as ${ORGANIZATIONS[0]?.name}` }).click();
    await page.getByRole('link', { name: 'Settings' }).click();
    await page.frameLocator('iframe').getByText(shows).first().waitFor();
    await takeOf(page, name);
    await context.close();
  } finally {
    await crm.close();
    await framed.stop();
  }
});
