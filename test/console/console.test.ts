// The console in a real browser, with a daemon, a receiver and the API. One server and one browser for all tests.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ORGANIZATIONS, startCrm } from '../../examples/crm/server.ts';
import { buildConsole } from '../../src/demo/console.ts';
import { startTestApi } from '../support/api.ts';
import { hasNoBrowser } from '../support/browser.ts';
import { ConsoleScene, close, goTo, judge, judgeNarrow, type Visit } from '../support/console.ts';
import { waitUntil } from '../support/wait.ts';

const root = join(import.meta.dirname, '../..');
const scene = new ConsoleScene();
const { complaints } = scene;
const visit = (path: string, how?: Visit) => scene.visit(path, how);

beforeAll(async () => {
  if (!hasNoBrowser) await scene.start();
});
afterAll(() => scene.stop());

describe.skipIf(hasNoBrowser)('the console', () => {
  test('a wrong key is answered, a right one signs in, and the first visit explains itself', async () => {
    const context = await scene.browser.newContext();
    const page = await scene.open(context, '/');
    await judge(page);
    await page.getByLabel('API key').fill('rhk_wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('This key is not accepted').waitFor();
    complaints.splice(0); // the 401 that was asked for
    await page.getByLabel('API key').fill(scene.key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Webhooks', exact: true }).waitFor();
    await page.getByText('Your first webhook takes a minute').waitFor();
    await judge(page);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('API key').waitFor();
    await context.close();
  });

  test('a webhook is created, tested, switched off, given a new secret, and deleted', async () => {
    const page = await visit('/webhooks');
    await page.getByRole('button', { name: 'Create webhook' }).click();
    await page.getByLabel('Name').fill('Billing');
    await page.getByLabel('Target URL').fill('hooks.example.com');
    await page.getByText('Begin it with https://.').waitFor();
    await page.getByRole('button', { name: 'Create' }).click();
    await page.getByText('Choose at least one event').waitFor();
    await page.getByLabel('Target URL').fill(scene.receiver.url('/billing'));
    await page.getByLabel('Description').fill('Invoices');
    await page.getByLabel('Method').selectOption('PUT');
    await page.getByLabel('Authentication').selectOption('bearer');
    await page.getByLabel('Token').fill('their token');
    await page.getByLabel('Events', { exact: true }).fill('deal.*');
    await judge(page);
    await page.getByRole('button', { name: 'Create' }).click();

    await page.getByRole('heading', { name: 'Billing' }).waitFor();
    const secret = await page.locator('.secret').innerText();
    expect(secret).toMatch(/^whsec_/);
    await page.getByRole('button', { name: 'I have it' }).click();

    await page.getByRole('tab', { name: 'Test' }).click();
    await page.getByRole('button', { name: 'Send test' }).click();
    await page.getByText('The receiver accepted it.').waitFor();
    expect(scene.receiver.requestsTo('/billing')).toHaveLength(1);
    expect(scene.receiver.requestsTo('/billing')[0]).toMatchObject({
      method: 'PUT',
      headers: { authorization: 'Bearer their token' },
    });
    await judge(page);

    await page.getByRole('link', { name: 'Open the delivery' }).click();
    await page.getByRole('heading', { name: 'Verify the signature' }).waitFor();
    await page.getByLabel('Secret', { exact: true }).fill(secret);
    await page.getByRole('button', { name: 'Verify' }).click();
    await page.getByText('Valid: this secret signed the request.').waitFor();
    await page.getByRole('button', { name: 'Explain why it is sent, or not' }).click();
    await page.getByText(/the webhook wants it/).waitFor();
    await page.getByRole('link', { name: 'Billing' }).click();

    await page.getByRole('tab', { name: 'Deliveries' }).click();
    await page.getByRole('row', { name: /Delivered/ }).waitFor();
    expect(page.url()).toMatch(/\/console\/webhooks\/[0-9a-f-]{36}\/deliveries$/);

    await page.getByRole('switch', { name: 'Active' }).click();
    await page.getByRole('switch', { name: 'Active', checked: false }).waitFor();
    const id = /webhooks\/([0-9a-f-]{36})/.exec(page.url())?.[1] as string;
    const stored = async () =>
      (await scene.api.ask('GET', `/v1/me/outgoing-webhooks/${id}`, { token: scene.key })).body;
    await waitUntil('it is off', async () => (await stored()).is_active === false);

    await page.getByRole('tab', { name: 'Settings' }).click();
    await page.getByLabel('Name').fill('Billing 2');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Saved.').waitFor();
    expect(await stored()).toMatchObject({ name: 'Billing 2', http_method: 'PUT', auth_type: 'bearer' });

    await page.getByRole('tab', { name: 'Secret' }).click();
    await page.getByRole('tab', { name: 'Ruby' }).waitFor();
    await page.getByRole('button', { name: 'Make a new secret' }).click();
    await page.getByRole('button', { name: 'Make it' }).click();
    expect(await page.locator('.secret').innerText()).not.toBe(secret);
    await judge(page);

    await page.getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('heading', { name: 'Webhooks', exact: true }).waitFor();
    expect((await scene.api.ask('GET', `/v1/me/outgoing-webhooks/${id}`, { token: scene.key })).status).toBe(404);
    await close(page);
  });
});

describe.skipIf(hasNoBrowser)('every page', () => {
  let [works, fails, delivery] = ['', '', ''];

  beforeAll(async () => {
    scene.receiver.respond('/fails', { status: 500, headers: { 'x-note': 'no' }, body: '{"error":"no such deal"}' });
    works = await scene.createWebhook({
      name: 'CRM',
      description: 'Keeps the CRM of the sales team up to date.',
      target_url: scene.receiver.url('/crm'),
      event_types: ['*'],
    });
    fails = await scene.createWebhook({
      name: 'Warehouse',
      target_url: scene.receiver.url('/fails'),
      event_types: ['deal.*', 'pay.made'],
    });
    for (let n = 1; n <= 12; n++) await scene.emit(n % 3 === 0 ? 'pay.made' : 'deal.updated', { id: n, value: 1200.5 });
    await scene.emit('deal.won', '12345678901234567890');
    const list = async (id: string) =>
      (await scene.api.ask('GET', `/v1/me/outgoing-webhooks/${id}/deliveries`, { token: scene.key })).body.data ?? [];
    await waitUntil('all were tried', async () => (await list(works)).length >= 13 && (await list(fails)).length >= 13);
    delivery = (await list(fails))[0]?.delivery_id as string;
  });

  const pages = (): [path: string, shows: string | RegExp][] => [
    ['/webhooks', 'Warehouse'],
    ['/webhooks/new', 'All, also future ones'],
    [`/webhooks/${fails}`, 'Attempts over time'],
    [`/webhooks/${fails}/deliveries`, '500'],
    [`/webhooks/${works}/test`, 'Send test'],
    [`/webhooks/${works}/settings`, 'Retries and limits'],
    [`/webhooks/${works}/secret`, 'Check the signature'],
    ['/deliveries?state=waiting', 'Warehouse'],
    [`/deliveries/${delivery}`, 'Verify the signature'],
    [`/webhooks/${works}/replay`, 'Count them'],
    ['/events', 'deal.won'],
    ['/api-keys', 'Never'],
    ['/changes', 'Warehouse'],
    ['/help', 'What your answer means'],
  ];

  test('axe finds nothing serious, and nothing overflows, in a wide window with the light theme and a narrow one with the dark', async () => {
    const page = await visit('/webhooks');
    for (const [path, shows] of pages()) {
      await goTo(page, path);
      await page.locator('#content').getByText(shows).first().waitFor();
      await judge(page);
      await judgeNarrow(page);
    }
    await close(page);
  });

  test('a filter and the selected attempt are in the address', async () => {
    const page = await visit(`/webhooks/${fails}/deliveries`);
    await page.getByLabel('Status').selectOption('success');
    await page.getByText('None fits').waitFor();
    expect(page.url()).toMatch(/\?status=success$/);
    await page.goBack();
    await page
      .getByRole('row', { name: /Failed/ })
      .first()
      .waitFor();
    await close(page);
  });

  test('who may only read sees no button that writes', async () => {
    const page = await visit('/webhooks', { token: scene.reader });
    await page.getByRole('switch', { name: 'Active: CRM', disabled: true }).waitFor();
    expect(await page.getByRole('button', { name: 'Create webhook' }).count()).toBe(0);
    await goTo(page, `/webhooks/${works}/settings`);
    await page.getByText('You may only read here.').waitFor();
    expect(await page.getByRole('button', { name: /^(Delete|Save)$/ }).count()).toBe(0);
    await close(page);
  });

  test('an attempt appears while one looks, and the row leads to its delivery', async () => {
    const page = await visit('/webhooks');
    const [stream] = await Promise.all([
      page.waitForResponse((response) => response.url().endsWith('/stream')),
      goTo(page, `/webhooks/${works}/deliveries`),
    ]);
    await page.getByRole('switch', { name: 'Live', checked: true }).waitFor();
    expect(stream.status()).toBe(200);
    await scene.emit('live.one', { id: 1 });
    await page.getByRole('link', { name: 'live.one' }).click();
    await page.getByRole('heading', { name: 'live.one' }).waitFor();
    expect(page.url()).toMatch(/deliveries\/[0-9a-f-]{36}\?attempt=\d+$/);
    await close(page);
  });

  test('the keyboard alone opens a webhook, its tabs and a dialog', async () => {
    const page = await visit('/webhooks');
    await page.getByRole('link', { name: 'CRM', exact: true }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('tab', { name: 'Overview', selected: true }).focus();
    await page.keyboard.press('ArrowRight');
    // The focus moves a moment after the key: an Enter before that would open the first tab again.
    await page.locator('[role=tab]:focus', { hasText: 'Deliveries' }).waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('tab', { name: 'Deliveries', selected: true }).waitFor();
    await page.getByRole('button', { name: 'Delete' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog', { name: 'Delete “CRM”?' }).waitFor();
    // the focus is inside, and stays there
    for (let n = 0; n < 4; n++) await page.keyboard.press('Tab');
    expect(await page.evaluate<boolean>('document.activeElement.closest("[role=dialog]") !== null')).toBe(true);
    await judge(page);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await close(page);
  });

  test('past events are counted, then sent again', async () => {
    const page = await visit(`/webhooks/${works}/replay`);
    await page.getByLabel('Which').selectOption('all');
    await page.getByRole('button', { name: 'Count them' }).click();
    await page.getByRole('dialog', { name: /^Send \d+ again\?$/ }).waitFor();
    const before = scene.receiver.requestsTo('/crm').length;
    await page.getByRole('button', { name: 'Replay', exact: true }).click();
    await page.getByText(/^(\d+) of \1 were tried/).waitFor();
    expect(scene.receiver.requestsTo('/crm').length).toBeGreaterThan(before);
    await close(page);
  });

  test('an event is found by its id, with what became of it at each webhook', async () => {
    const { body } = await scene.emit('deal.found', { id: 77 });
    const id = body.id as string;
    const attempts = `/outgoing-webhooks/${works}/deliveries?event_id=${id}`;
    await waitUntil('it was tried', async () => (await scene.ask('GET', attempts)).body.data?.length === 1);
    const page = await visit('/deliveries');
    await page.getByLabel('Find by id').fill('deal 77');
    await page.getByLabel('Find by id').press('Enter');
    await page.getByText('This is no id').waitFor();
    await judge(page);
    await page.getByLabel('Find by id').fill(` ${id} `);
    await page.getByLabel('Find by id').press('Enter');
    await page.getByRole('button', { name: /^deal\.found/, expanded: true }).waitFor();
    await page.getByRole('button', { name: 'Explain why it is sent, or not' }).click();
    await page.getByRole('link', { name: 'CRM', exact: true }).waitFor();
    await page.getByText('as it is configured now. It was delivered.').first().waitFor();
    await judge(page);
    await page.getByRole('link', { name: 'Open the delivery' }).first().click();
    await page.getByRole('heading', { name: 'deal.found' }).waitFor();

    await goTo(page, `/webhooks/${works}/deliveries`);
    await page.getByRole('link', { name: 'deal.found' }).waitFor();
    await page.getByLabel('Event type or id').fill(id);
    await page.getByLabel('Event type or id').press('Enter');
    await waitUntil('only it is shown', async () => (await page.getByRole('row').count()) === 2);
    await page.getByRole('link', { name: 'deal.found' }).click();
    await page.getByRole('heading', { name: 'deal.found' }).waitFor();
    await close(page);
  });

  test('the name of the organization stands in the navigation, also where an operator acts in it', async () => {
    const body = { name: 'Acme Ltd', slug: 'acme' };
    await scene.api.ask('PUT', '/v1/organizations/acme', { token: scene.operator, body });
    const page = await visit('/webhooks');
    await page.reload();
    await page.getByRole('banner').getByText('Acme Ltd').waitFor();
    await close(page);
    const operator = await visit('/o/acme/webhooks', { token: scene.operator });
    await operator.getByRole('navigation').getByText('Acme Ltd').waitFor();
    await close(operator);
    await scene.api.ask('PUT', '/v1/organizations/acme', { token: scene.operator, body: {} });
  });

  test('what waits is selected and retried, with the count first', async () => {
    const page = await visit('/deliveries?state=waiting');
    await page.getByRole('checkbox').first().check();
    await page.getByRole('button', { name: 'Retry selected (1)' }).click();
    await page.getByRole('dialog', { name: 'Retry one delivery?' }).waitFor();
    await page.getByRole('button', { name: 'Retry', exact: true }).click();
    await page.getByText('1 is queued.').waitFor();
    await close(page);
  });

  test('a key is made, shown once, and revoked', async () => {
    const page = await visit('/api-keys');
    await page.getByRole('button', { name: 'Create key' }).click();
    await page.getByLabel('Name').fill('robot');
    await judge(page);
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    const token = await page.locator('.secret').innerText();
    expect((await scene.api.ask('GET', '/v1/me', { token })).body.name).toBe('robot');
    await page.getByRole('button', { name: 'Revoke robot' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
    await page.getByRole('row', { name: /robot.*Revoked/ }).waitFor();
    expect((await scene.api.ask('GET', '/v1/me', { token })).status).toBe(401);
    await close(page);
  });

  test('an operator sees every organization, and acts in one', async () => {
    const page = await visit('/', { token: scene.operator });
    await page.getByRole('link', { name: 'acme' }).waitFor();
    await judge(page);
    await page.getByRole('link', { name: 'acme' }).click();
    await page.getByRole('link', { name: 'Warehouse', exact: true }).click();
    await page.getByRole('heading', { name: 'Warehouse' }).waitFor();
    expect(page.url()).toContain('/console/o/acme/webhooks/');
    await page.getByRole('link', { name: 'Status' }).click();
    await page.getByRole('heading', { name: 'Daemons' }).waitFor();
    await judge(page);

    // A webhook that fails has the name of its organization, and the state that the list says.
    const as = { token: scene.operator };
    await scene.api.ask('PUT', '/v1/organizations/globex', { ...as, body: { name: 'Globex Corporation' } });
    const { body: broken } = await scene.api.ask('POST', '/v1/globex/outgoing-webhooks', {
      ...as,
      body: { name: 'Ledger', target_url: 'https://ledger.example/', event_types: ['no.thing'] },
    });
    await scene.database.query(
      `insert into rowhook.webhook_health (webhook_id, lane, failures, failing_since, open_until)
       values ($1, 0, 12, now(), now() + interval '1 hour')`,
      [broken.id],
    );
    await page.getByRole('row', { name: /Ledger Globex Corporation\s*globex Paused 12/ }).waitFor();
    await page.getByRole('link', { name: 'Ledger' }).click();
    await page.getByRole('heading', { name: 'Ledger' }).waitFor();
    await page.locator('.badge', { hasText: 'Paused' }).waitFor();
    await page.getByRole('navigation').getByRole('link', { name: 'Webhooks' }).click();
    await page.getByRole('row', { name: /Ledger\s*Paused/ }).waitFor();
    await close(page);
  });

  test('hostile names, bodies and answers are shown as text', async () => {
    const name = '<img src=x onerror="window.hacked=1">\u202e evil';
    const script = '<script>window.hacked=1</script>';
    scene.receiver.respond('/evil', {
      status: 500,
      headers: { 'content-type': 'text/html', 'x-evil': script },
      body: `${script}${'<b>'.repeat(30_000)}`,
    });
    const id = await scene.createWebhook({
      name,
      description: script,
      target_url: scene.receiver.url('/evil'),
      event_types: ['evil.made'],
      retry_enabled: false,
    });
    await scene.emit('evil.made', `${'['.repeat(400)}"${script}\u202e"${']'.repeat(400)}`);
    const attempts = async () =>
      (await scene.api.ask('GET', `/v1/me/outgoing-webhooks/${id}/deliveries`, { token: scene.key })).body.data ?? [];
    await waitUntil('it was tried', async () => (await attempts()).length > 0);
    const page = await visit(`/deliveries/${(await attempts())[0]?.delivery_id}`);
    await page.getByText('window.hacked=1</script>', { exact: false }).first().waitFor();
    await page.getByRole('link', { name: /onerror=/ }).click();
    await page.getByRole('heading', { name: /onerror=/ }).waitFor();
    await page.goto(`${scene.api.url}/console/events?event_type=evil.made`);
    await page.getByRole('button', { name: /evil\.made/ }).click();
    await page.getByText('\\u202e').first().waitFor();
    expect(await page.evaluate<boolean>('"hacked" in window')).toBe(false);
    expect(await page.locator('img').count()).toBe(0);
    await scene.api.ask('DELETE', `/v1/me/outgoing-webhooks/${id}`, { token: scene.key });
    await close(page);
  });

  test('a key that was revoked ends the session, and the page says what to do', async () => {
    const made = await scene.api.ask('POST', '/v1/me/api-keys', {
      token: scene.key,
      body: { name: 'short', scopes: ['read'] },
    });
    const page = await visit('/webhooks', { token: made.body.token as string });
    await page.getByRole('link', { name: 'CRM', exact: true }).waitFor();
    await scene.api.ask('DELETE', `/v1/me/api-keys/${made.body.id}`, { token: scene.key });
    // The list may have been read again already, and then the link is gone.
    await page.evaluate("[...document.querySelectorAll('a')].find((a) => a.textContent === 'Warehouse')?.click()");
    await page.getByText('Your session has ended').waitFor();
    complaints.splice(0); // the 401 that was asked for
    await judge(page);
    await close(page);
  });
});

describe.skipIf(hasNoBrowser)('sessions', () => {
  const linkOf = async (body: object = {}, token = scene.key) =>
    (await scene.api.ask('POST', '/v1/me/portal-links', { token, body })).body.url as string;

  test('a portal link signs in once, stays out of the address, and may be read-only', async () => {
    const link = await linkOf({ read_only: true });
    expect(link).toContain('/console/#token=rhl_');
    const context = await scene.browser.newContext();
    const page = await scene.open(context, link.slice(link.indexOf('/console') + '/console'.length));
    await page.getByRole('link', { name: 'CRM', exact: true }).waitFor();
    expect(page.url()).toBe(`${scene.api.url}/console/webhooks`);
    expect(await page.getByRole('button', { name: 'Create webhook' }).count()).toBe(0);
    // the session is a cookie that scripts cannot read
    expect(await page.evaluate<string>('document.cookie + sessionStorage.length')).toBe('0');
    await page.reload();
    await page.getByRole('link', { name: 'CRM', exact: true }).waitFor();

    const other = await scene.browser.newContext();
    const late = await scene.open(other, link.slice(link.indexOf('/console') + '/console'.length));
    await late.getByText('This link does not work.').waitFor();
    complaints.splice(0); // the 401 that was asked for
    await judge(late);
    await Promise.all([context.close(), other.close()]);
  });

  test('an application embeds it by a link, for the organization of its visitor', async () => {
    const [acme, globex] = ORGANIZATIONS;
    const framed = await startTestApi(scene.database, {
      allowHttp: true,
      allowCidrs: ['127.0.0.0/8'],
      frameAncestors: ['http://127.0.0.1:*'],
    });
    const crm = await startCrm({
      databaseUrl: scene.database.url,
      rowhookUrl: framed.url,
      rowhookKey: scene.operator,
      port: 0,
    });
    try {
      for (const { id = '', name = '' } of [acme ?? {}, globex ?? {}])
        await scene.api.ask('POST', `/v1/${id}/outgoing-webhooks`, {
          token: scene.operator,
          body: { name: `Hook of ${name}`, target_url: scene.receiver.url(`/${name}`), event_types: ['deal.*'] },
        });
      const context = await scene.browser.newContext({ viewport: { width: 1280, height: 900 } });
      const page = await context.newPage();
      await page.goto(crm.url);
      await page.getByRole('button', { name: 'Sign in as Globex' }).click();
      await page.getByLabel('Title').fill('Fleet renewal');
      await page.getByLabel('Value').fill('48000');
      await page.getByRole('button', { name: 'Add deal' }).click();
      await scene.receiver.waitFor(({ path }) => path === '/Globex');
      await page.getByRole('link', { name: 'Settings' }).click();
      const frame = page.frameLocator('iframe');
      await frame.getByRole('link', { name: 'Hook of Globex' }).click();
      await frame.getByRole('tab', { name: 'Deliveries' }).click();
      await frame.getByRole('link', { name: 'deal.created' }).waitFor();
      expect(await frame.getByText('Hook of Acme').count()).toBe(0);
      expect(await frame.getByRole('button', { name: 'Sign out' }).count()).toBe(0);
      await context.close();
    } finally {
      await crm.close();
      await framed.stop();
    }
  });
});

describe.skipIf(hasNoBrowser)('what is served', () => {
  const get = (path: string, init: RequestInit = {}) => fetch(`${scene.api.url}${path}`, init);

  test('every address of the app is its page, which no other site may frame', async () => {
    const answer = await get('/console/webhooks/some/settings?q=1');
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toMatch(/^text\/html/);
    expect(answer.headers.get('cache-control')).toBe('no-cache');
    expect(answer.headers.get('x-frame-options')).toBe('DENY');
    const policy = answer.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain('unsafe');
    const html = await answer.text();
    expect(html).not.toMatch(/<script>|<style|style=/);

    const script = /src="(\/console\/assets\/[^"]+)"/.exec(html)?.[1] as string;
    const asset = await get(script);
    expect(asset.headers.get('cache-control')).toContain('immutable');
    expect(asset.headers.get('content-type')).toMatch(/javascript/);
    expect((await get('/console/assets/none.js')).status).toBe(404);
    expect((await get('/console/assets/..%2f..%2fpackage.json')).status).not.toBe(200);
    const redirect = await get('/console', { redirect: 'manual' });
    expect([redirect.status, redirect.headers.get('location')]).toEqual([308, '/console/']);
    const root = await get('/', { redirect: 'manual' });
    expect([root.status, root.headers.get('location')]).toEqual([302, '/console/']);
  });

  test('ROWHOOK_FRAME_ANCESTORS names the sites that may', async () => {
    const other = await startTestApi(scene.database, { frameAncestors: ['https://app.example.com'] });
    try {
      const { headers } = await fetch(`${other.url}/console/`);
      expect(headers.get('content-security-policy')).toContain('frame-ancestors https://app.example.com');
      expect(headers.get('x-frame-options')).toBeNull();
    } finally {
      await other.stop();
    }
  });
});

test('initial JavaScript has at most 250 kB, compressed', async () => {
  await buildConsole();
  const folder = join(root, 'console/dist');
  const manifest = JSON.parse(await readFile(join(folder, '.vite/manifest.json'), 'utf8'));
  const files = new Set<string>();
  const add = (name: string) => {
    const { file, imports = [] } = manifest[name];
    if (files.has(file)) return;
    files.add(file);
    for (const other of imports) add(other);
  };
  // what the first page needs: the app, and the list of webhooks
  for (const name of ['index.html', 'src/pages/webhooks/list.tsx']) add(name);
  const sizes = await Promise.all([...files].map(async (file) => gzipSync(await readFile(join(folder, file))).length));
  expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(250_000);
});

test.skipIf(hasNoBrowser)('no page has logged an error: no refusal by the policy, no exception', () => {
  expect(complaints).toEqual([]);
});
