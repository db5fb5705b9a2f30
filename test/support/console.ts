// The console in a real browser, with a daemon, a receiver and the API behind it.

import { AxeBuilder } from '@axe-core/playwright';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { expect } from 'vitest';
import type { ServeSettings } from '../../src/config/settings.ts';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { buildConsole } from '../../src/demo/console.ts';
import { createKey, startTestApi, type TestApi } from './api.ts';
import { startBrowser } from './browser.ts';
import { startTestDaemon } from './daemon.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { type Receiver, startReceiver } from './receiver.ts';

export interface Look {
  width?: number;
  theme?: 'light' | 'dark';
}

export interface Visit extends Look {
  token?: string;
}

/** One server and one browser for all tests of a file. */
export class ConsoleScene {
  database!: TestDatabase;
  api!: TestApi;
  receiver!: Receiver;
  daemon!: Daemon;
  browser!: Browser;
  /** Of the organization of the scene. */
  key = '';
  reader = '';
  operator = '';
  /** What a page logged as an error, such as a refusal by the policy. */
  readonly complaints: string[] = [];
  private readonly contexts = new Map<string, BrowserContext>();
  private readonly pages = new Map<string, Page>();

  async start(settings: Partial<ServeSettings> = {}, organization = 'acme'): Promise<void> {
    [this.database, this.receiver] = [await createDatabase({ crm: true }), await startReceiver()];
    await buildConsole();
    [this.api, this.browser, this.daemon] = await Promise.all([
      startTestApi(this.database, { allowHttp: true, allowCidrs: ['127.0.0.0/8'], ...settings }),
      startBrowser(),
      startTestDaemon(this.database),
    ]);
    this.key = await createKey(this.database, organization, ['read', 'write', 'inbound', 'keys']);
    this.reader = await createKey(this.database, organization, ['read']);
    this.operator = await createKey(this.database, null);
  }

  async stop(): Promise<void> {
    await this.browser?.close();
    await this.daemon?.stop();
    await this.api?.stop();
    await this.receiver?.close();
    await this.database?.drop();
  }

  /**
   * The page of a key, signed in as after the sign-in page. The app is loaded once for each key, which
   * takes 2 s of processor time: from then on the page goes to the path inside the app.
   */
  async visit(path: string, { token = this.key, ...look }: Visit = {}): Promise<Page> {
    const known = this.pages.get(token);
    if (known && (await isFree(known))) {
      await lookAs(known, { ...WIDE, ...look });
      await goTo(known, path);
      return known;
    }
    const page = await this.open(await this.contextOf(token), path, { ...WIDE, ...look });
    this.pages.set(token, page);
    kept.add(page);
    return page;
  }

  /** One for each key: its pages share a cache, so the browser compiles the app once for all of them. */
  private async contextOf(token: string): Promise<BrowserContext> {
    const known = this.contexts.get(token);
    if (known) return known;
    const context = await this.browser.newContext({
      reducedMotion: 'reduce',
      timezoneId: 'Europe/Berlin',
      locale: 'en-GB',
    });
    this.contexts.set(token, context);
    context.setDefaultTimeout(60_000);
    await context.addInitScript((value) => sessionStorage.setItem('rowhook.token', value), token);
    return context;
  }

  async open(context: BrowserContext, path: string, look: Look = {}): Promise<Page> {
    const page = await context.newPage();
    await lookAs(page, look);
    page.on('console', (message) => {
      if (message.type() === 'error') this.complaints.push(`${message.text()} ${message.location().url}`);
    });
    page.on('pageerror', (error) => this.complaints.push(String(error)));
    await page.goto(this.address(path));
    return page;
  }

  address = (path: string) => `${this.api.url}/console${path}`;

  /** As the organization of the scene. */
  ask = (method: string, path: string, body?: unknown) =>
    this.api.ask(method, `/v1/me${path}`, { token: this.key, ...(body !== undefined && { body }) });

  async createWebhook(fields: object): Promise<string> {
    const { status, body } = await this.ask('POST', '/outgoing-webhooks', fields);
    expect(status).toBe(201);
    return body.id as string;
  }

  emit = (event: string, data: unknown) => this.ask('POST', '/events', { event, data });
}

/** Pages of visits, which the next visit with the same key uses. */
const kept = new WeakSet<Page>();

export const close = async (page: Page) => {
  if (!kept.has(page)) await page.close();
};

/** Not in the middle of what another test has left. */
const isFree = async (page: Page) => !page.isClosed() && (await page.getByRole('dialog').count()) === 0;

/**
 * Goes to a path as a link of the app does. On its way it is at an address without a page, so nothing
 * of the page before is left.
 */
export async function goTo(page: Page, path: string): Promise<void> {
  const push = (to: string) =>
    page.evaluate(`history.pushState(null, '', ${JSON.stringify(`/console${to}`)});
      dispatchEvent(new PopStateEvent('popstate', { state: null }))`);
  await push('/nowhere');
  await page.getByRole('heading', { name: 'There is no such page' }).waitFor();
  await push(path);
}

const WIDE: Look = { width: 1440, theme: 'light' };
/** A telephone at night. */
const NARROW: Look = { width: 360, theme: 'dark' };

async function lookAs(page: Page, { width, theme }: Look): Promise<void> {
  if (width !== undefined) await page.setViewportSize({ width, height: 900 });
  if (theme !== undefined) await page.emulateMedia({ colorScheme: theme });
}

// Two frames: observers of sizes draw in the second one. Then colours that change slowly have changed.
const DRAWN = `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))).then(() =>
  Promise.allSettled(document.getAnimations().filter((one) => one instanceof CSSTransition).map((one) => one.finished)))`;

/** Judges the page that is open again, in a narrow window with the dark theme: what these change. */
export async function judgeNarrow(page: Page): Promise<void> {
  await lookAs(page, NARROW);
  await page.evaluate(DRAWN);
  await judge(page, ['color-contrast', 'target-size', 'scrollable-region-focusable']);
  await lookAs(page, WIDE);
}

/** Nothing serious, and no sideways scrolling. `rules`: only these, where the others were looked at already. */
export async function judge(page: Page, rules?: string[]): Promise<void> {
  const where = `${page.url()} at ${page.viewportSize()?.width} pixels`;
  // Without legacy mode every analysis opens another page, for frames of other sites.
  const axe = new AxeBuilder({ page }).setLegacyMode();
  const { violations } = await (rules ? axe.withRules(rules) : axe).analyze();
  const serious = violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${where} ${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  expect(serious).toEqual([]);
  const overflow = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
  expect(overflow, `${where} scrolls sideways`).toBeLessThanOrEqual(0);
}
