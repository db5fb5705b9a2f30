// /api/docs in a browser: everything comes from our own server.

import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const BROWSER = '/usr/bin/chromium';

let database: TestDatabase;
let api: TestApi;

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database);
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

test('the page and each of its files have a policy without inline scripts', async () => {
  const page = await fetch(`${api.url}/api/docs`);
  const text = await page.text();
  expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
  const policy = page.headers.get('content-security-policy') ?? '';
  expect(policy).toContain("default-src 'none'; script-src 'self';");
  expect(policy).not.toMatch(/unsafe|https?:/);
  const files = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file = '']) => new URL(file, page.url));
  expect(files.length).toBeGreaterThan(4);
  for (const file of files) {
    expect(file.origin).toBe(api.url);
    const answer = await fetch(file);
    expect([file.pathname, answer.status, (await answer.bytes()).length > 0]).toEqual([file.pathname, 200, true]);
  }
  expect(text).not.toMatch(/<script(?![^>]*src=)/);
});

test.skipIf(!hasBrowser())('a browser shows every operation, and asks nobody else', async () => {
  const browser = await chromium.launch({
    executablePath: BROWSER,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  });
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 1600 } });
    const asked: string[] = [];
    const complaints: string[] = [];
    page.setDefaultTimeout(120_000);
    page.on('request', (request) => asked.push(request.url()));
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(String(error)));
    await page.goto(`${api.url}/api/docs`);
    const operations = page.locator('.opblock-summary-path');
    await operations.first().waitFor();
    const document = (await api.ask('GET', '/openapi.json')).body as {
      paths?: Record<string, object>;
      webhooks?: Record<string, object>;
    };
    const groups = [...Object.values(document.paths ?? {}), ...Object.values(document.webhooks ?? {})];
    const count = groups.flatMap((methods) => Object.keys(methods)).length;
    expect(await operations.count()).toBe(count);
    await page.locator('#operations-events-postEvents .opblock-summary-control').click();
    await page.locator('#operations-events-postEvents').getByText('Idempotency-Key').first().waitFor();
    if (process.env.ROWHOOK_TEST_SCREENSHOT) await page.screenshot({ path: process.env.ROWHOOK_TEST_SCREENSHOT });
    expect(asked.filter((url) => !url.startsWith(`${api.url}/`) && !url.startsWith('data:'))).toEqual([]);
    expect(complaints).toEqual([]);
  } finally {
    await browser.close();
  }
});

function hasBrowser(): boolean {
  if (existsSync(BROWSER)) return true;
  console.warn(`Skipped: what needs ${BROWSER}, which is not on this machine.`);
  return false;
}
