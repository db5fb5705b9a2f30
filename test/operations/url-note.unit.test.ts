// What `rowhook webhook create` says of a URL that a daemon with default settings refuses: one note, with the flags to paste.

import { expect, test } from 'vitest';
import { urlNote } from '../../src/operations/webhooks/url-note.ts';

const REFUSED = 'a daemon with default settings does not send to this URL';

test.each([
  [
    'http://127.0.0.1:3000/',
    `${REFUSED}, because it is not encrypted and its address is in 127.0.0.0/8. To allow it: ` +
      'rowhook start --allow-http --allow-cidrs 127.0.0.0/8 (ROWHOOK_ALLOW_HTTP=true, ROWHOOK_ALLOW_CIDRS=127.0.0.0/8).',
  ],
  [
    'http://hooks.example.com/',
    `${REFUSED}, because it is not encrypted. To allow it: rowhook start --allow-http (ROWHOOK_ALLOW_HTTP=true).`,
  ],
  [
    'https://[::1]/',
    `${REFUSED}, because its address is in ::1/128. To allow it: ` +
      'rowhook start --allow-cidrs ::1/128 (ROWHOOK_ALLOW_CIDRS=::1/128).',
  ],
])('%s', (url, note) => {
  expect(urlNote(url)).toBe(note);
});

test('no flag is offered where none helps', () => {
  expect(urlNote('http://169.254.169.254/latest')).toMatch(
    new RegExp(`^${REFUSED}: .*169\\.254\\.169\\.254.*No setting opens it`),
  );
  expect(urlNote('https://hooks.example.com:25/')).toMatch(new RegExp(`^${REFUSED}: Port 25 is refused`));
});

test('a URL that is sent to has no note', () => {
  expect(urlNote('https://hooks.example.com/in')).toBeNull();
});
