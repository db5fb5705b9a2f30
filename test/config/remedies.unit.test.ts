// What the verdict on a setting says to write is taken from the verdict itself, and is taken by the parser that refused the other value.

import { expect, test } from 'vitest';
import {
  boolean,
  cidrs,
  databaseUrl,
  environment,
  eventId,
  httpHost,
  oneOf,
  proxyUrl,
  time,
  wholeNumber,
} from '../../src/config/parse.ts';
import { claimName, jwksUrl, jwtSecret, origins, publicUrl, trustProxy } from '../../src/config/parse-serve.ts';
import { readSettings } from '../../src/config/settings.ts';
import { readTarget } from '../../src/connection/target.ts';

function verdict(parse: (text: string) => unknown, text: string): string {
  try {
    parse(text);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error(`not refused: ${text}`);
}

const groups = (pattern: RegExp, text: string) => pattern.exec(text)?.slice(1) ?? [];
const url = (rest: string) => `postgres://app:hunter2@${rest}`;

test.each<[refused: string, parse: (text: string) => unknown, instead: (verdict: string) => readonly string[]]>([
  [
    'a b',
    environment,
    (said) => [
      said
        .match(/".*?"/g)
        ?.join('')
        .replaceAll('"', '')
        .padEnd(Number(/\d+/.exec(said)), 'a9') ?? '',
    ],
  ],
  ['!', httpHost, (said) => groups(/Use (\S+), or (\S+) for/, said)],
  [
    'x',
    proxyUrl,
    (said) => groups(/as (\S+), or (\S+)\. /, said).map((proxy) => proxy.replace('…', 'p%C3%A4.example')),
  ],
  ['x', wholeNumber(3, 70), (said) => groups(/from (\d+) to (\d+)/, said)],
  ['x', oneOf(['a', 'b', 'c']), (said) => groups(/one of (\w), (\w), (\w)$/, said)],
  ['x', boolean, (said) => groups(/not (\w+) or (\w+)/, said)],
  ['x', cidrs, (said) => groups(/as (\S+) or (\S+)$/, said)],
  ['x', publicUrl, (said) => groups(/as (\S+), without/, said)],
  ['true', trustProxy, (said) => groups(/as (\S+), or as (\S+)$/, said)],
  ['https://a.example/path', origins, (said) => groups(/as (\S+), without/, said)],
  ['http://a.example', jwksUrl, (said) => groups(/as (\S+)$/, said)],
  ['a b', claimName, (said) => groups(/as (\S+)$/, said)],
  [
    'short',
    jwtSecret,
    (said) => groups(/rand -base64 (\d+)$/, said).map((bytes) => Buffer.alloc(Number(bytes)).toString('base64')),
  ],
  ['x', time, (said) => groups(/as (\S+) \(UTC.*\), or (\S+) for/, said)],
  ['x', eventId, (said) => ['4711', `${groups(/as (evt_)…/, said)[0]}60f127aa_9_1`]],
  ['mysql://x', databaseUrl, (said) => groups(/Write (\S+), or (.*)$/, said)],
  [
    url('h/a?sslmode'),
    databaseUrl,
    (said) => [
      url(`h/a?sslmode=allow${groups(/by (.), and/, said)[0]}application_name=x${groups(/as (\S+)$/, said)[0]}y`),
    ],
  ],
  [url('::1/app'), databaseUrl, (said) => [url(`${groups(/as (\S+)$/, said)[0]}/app`)]],
  [
    'host=localhost password=a b',
    databaseUrl,
    (said) => [
      `host=localhost password=${/in single quotes/.test(said) ? "'a b'" : ''}`,
      `host=localhost password='it${groups(/in it as (\S+)$/, said)[0]}s'`,
    ],
  ],
  [
    url('localhost:0/app'),
    databaseUrl,
    (said) => groups(/from (\d+) to (\d+)/, said).map((port) => url(`localhost:${port}/app`)),
  ],
  [
    url('localhost/app?host=a,b&port=1,2,3'),
    databaseUrl,
    () => [url('localhost/app?host=a,b&port=1,2'), url('localhost/app?host=a,b&port=1')],
  ],
  [url('a,b/app?hostaddr=127.0.0.1'), databaseUrl, () => [url('a,b/app?hostaddr=127.0.0.1,127.0.0.2')]],
  [
    url('h/app?sslmode=all'),
    databaseUrl,
    (said) =>
      groups(/one of (.*)$/, said).flatMap((modes) =>
        modes.split(', ').map((mode) => url(`h/app?sslrootcert=/x&sslmode=${mode}`)),
      ),
  ],
  [
    url('h/app?sslmode=verify-ca'),
    databaseUrl,
    (said) => [url(`h/app?sslmode=verify-ca&${groups(/Add (\S+)$/, said)[0]}`)],
  ],
  [
    url('h/app?sslmode=require&sslrootcert=system'),
    databaseUrl,
    (said) => [url(`h/app?sslrootcert=system&${groups(/Write (\S+)$/, said)[0]}`)],
  ],
  [
    url('h/app?sslnegotiation=direct'),
    databaseUrl,
    (said) =>
      groups(/Write sslmode=(\S+) or sslmode=(\S+)$/, said).map((mode) =>
        url(`h/app?sslnegotiation=direct&sslmode=${mode}`),
      ),
  ],
  [url('h/app?connect_timeout=soon'), databaseUrl, () => [url('h/app?connect_timeout=5')]],
  [
    url('h/app?schema=public'),
    databaseUrl,
    (said) => [url(`h/app?schema=public`).replace(`?${groups(/"(\w+)".*Remove it$/, said)[0]}=public`, '')],
  ],
  [
    url('h/app?keepalives_count=3'),
    databaseUrl,
    (said) => [url(`h/app?keepalives_count=3`).replace(`?${groups(/"(\w+)".*Remove it$/, said)[0]}=3`, '')],
  ],
])('instead of %j', (refused, parse, instead) => {
  const values = instead(verdict(parse, refused));
  expect(values.length).toBeGreaterThan(0);
  for (const value of values) {
    expect(value).not.toMatch(/undefined|^$/);
    expect(() => parse(value), value).not.toThrow();
  }
});

test.each(['p@ss/w#o:r%d', 'p%zz', 'p%ff@', 'p[x]'])(
  'a password of %j, percent-encoded as every verdict says',
  (password) => {
    const plain = `postgres://app:${password}@localhost:x/app`;
    const said = verdict(databaseUrl, plain);
    const encoded = [...said.matchAll(/(%\w\w) for (.)/g)].reduce(
      (text, [, code = '', character = '']) => text.replaceAll(character, code),
      password.replaceAll('%', '%25').replaceAll('[', '%5B').replaceAll(']', '%5D'),
    );
    expect(readTarget(`postgres://app:${encoded}@localhost/app`).password).toBe(password);
  },
);

test('a setting that is not set, or not known', () => {
  const [example = ''] = groups(
    /such as (\S+)\.$/,
    verdict(() => readSettings({}, {}), ''),
  );
  expect(readSettings({ databaseUrl: example }, {}).databaseUrl).toBe(example);
  const unknown = verdict(() => readSettings({ databaseUrl: example }, { ROWHOOK_HTPP_PORT: '1' }), '');
  const [near = ''] = groups(/or use (\w+)\.$/, unknown);
  expect(readSettings({ databaseUrl: example }, { [near]: '1' }).httpPort).toBe(1);
});
