// Which frames get the page that says what to do. All others get the console, whose policy the browser enforces.

import { expect, test } from 'vitest';
import { refusedSite } from '../../src/api/sessions/refused-frame.ts';

const frame = (referer?: string, site = 'cross-site') => ({
  headers: { 'sec-fetch-dest': 'iframe', 'sec-fetch-site': site, ...(referer !== undefined && { referer }) },
});
const allowing = (...frameAncestors: string[]) => ({ frameAncestors });

test('a page at top level is never refused', () => {
  expect(refusedSite({ headers: {} }, allowing())).toBeNull();
  const headers = { 'sec-fetch-dest': 'document', referer: 'https://evil.example/' };
  expect(refusedSite({ headers }, allowing())).toBeNull();
});

test('where nobody may, each frame is refused, also one whose site is unknown', () => {
  expect(refusedSite(frame('https://a.example/x'), allowing())).toBe('https://a.example');
  expect(refusedSite(frame(), allowing())).toBe('');
  expect(refusedSite(frame('no URL'), allowing())).toBe('');
});

test.each([
  ['https://app.example.com', 'https://app.example.com/settings'],
  ['https://app.example.com', 'https://APP.example.com:443/'],
  ['http://app.example.com', 'https://app.example.com/'],
  ['http://127.0.0.1:4000', 'http://127.0.0.1:4000/'],
  ['http://127.0.0.1:*', 'http://127.0.0.1:4123/'],
  ['https://*.example.com', 'https://a.b.example.com/'],
])('%s lets %s in', (allowed, referer) => {
  expect(refusedSite(frame(referer), allowing('https://other.example', allowed))).toBeNull();
});

test.each([
  ['https://app.example.com', 'https://evil.example/app.example.com'],
  ['https://app.example.com', 'http://app.example.com/'],
  ['https://app.example.com', 'https://app.example.com:8443/'],
  ['https://app.example.com', 'https://app.example.com.evil.example/'],
  ['https://*.example.com', 'https://example.com/'],
  ['https://*.example.com', 'https://evilexample.com/'],
  ['http://127.0.0.1:4000', 'http://127.0.0.1:4001/'],
])('%s keeps %s out', (allowed, referer) => {
  expect(refusedSite(frame(referer), allowing(allowed))).toBe(new URL(referer).origin);
});

test('a link inside a frame that is shown, and a site that hides its name, are left to the browser', () => {
  const allowed = allowing('https://app.example.com');
  expect(refusedSite(frame('https://rowhook.example/console/', 'same-origin'), allowed)).toBeNull();
  expect(refusedSite(frame(), allowed)).toBeNull();
});
