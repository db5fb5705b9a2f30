// A real browser: Debian's chromium, or the one that CHROMIUM names. Without one its tests are skipped, in CI never.

import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const found = process.env.CHROMIUM ?? PLACES.find((path) => existsSync(path));

/** Whether tests with a browser are skipped. The reason is printed. */
export const hasNoBrowser = found === undefined && !process.env.CI;
if (hasNoBrowser)
  console.log('Skipped: there is no chromium here. Run "apt-get install chromium", or set CHROMIUM to its path.');

export function startBrowser(): Promise<Browser> {
  if (found === undefined) throw new Error('In CI a browser is needed: apt-get install chromium.');
  // Chromium as root has no sandbox, and a container little shared memory.
  return chromium.launch({ executablePath: found, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}
