import { once } from 'node:events';
import { type AddressInfo, connect, createServer, isIP, type LookupFunction } from 'node:net';
import { describe, expect, test } from 'vitest';
import {
  type AddressPolicy,
  AddressRefused,
  addressProblem,
  compilePolicy,
  guardedLookup,
  literalProblem,
  type Resolve,
} from '../../src/deliver/address-guard.ts';
import { urlProblem } from '../../src/deliver/url-guard.ts';
import { answer } from '../support/resolve.ts';

const policy = (given: Partial<AddressPolicy> = {}) =>
  compilePolicy({ allowHttp: false, allowCidrs: [], denyCidrs: [], ...given });
const strict = policy();
const everything = policy({ allowHttp: true, allowCidrs: ['0.0.0.0/0', '::/0'] });

/** The registries once more, typed from IANA's pages, so that a slip in src/deliver/special-ranges.ts shows. */
const iana: readonly (readonly [cidr: string, name: string])[] = [
  ['0.0.0.0/8', 'This network'],
  ['0.0.0.0/32', 'This host on this network'],
  ['10.0.0.0/8', 'Private-Use'],
  ['100.64.0.0/10', 'Shared Address Space'],
  ['127.0.0.0/8', 'Loopback'],
  ['169.254.0.0/16', 'Link Local'],
  ['172.16.0.0/12', 'Private-Use'],
  ['192.0.0.0/24', 'IETF Protocol Assignments'],
  ['192.0.0.0/29', 'IPv4 Service Continuity Prefix'],
  ['192.0.0.8/32', 'IPv4 dummy address'],
  ['192.0.0.9/32', 'Port Control Protocol Anycast'],
  ['192.0.0.10/32', 'Traversal Using Relays around NAT Anycast'],
  ['192.0.0.170/32', 'NAT64/DNS64 Discovery'],
  ['192.0.0.171/32', 'NAT64/DNS64 Discovery'],
  ['192.0.2.0/24', 'Documentation (TEST-NET-1)'],
  ['192.31.196.0/24', 'AS112-v4'],
  ['192.52.193.0/24', 'AMT'],
  ['192.88.99.0/24', 'Deprecated (6to4 Relay Anycast)'],
  ['192.88.99.2/32', '6a44-relay anycast address'],
  ['192.168.0.0/16', 'Private-Use'],
  ['192.175.48.0/24', 'Direct Delegation AS112 Service'],
  ['198.18.0.0/15', 'Benchmarking'],
  ['198.51.100.0/24', 'Documentation (TEST-NET-2)'],
  ['203.0.113.0/24', 'Documentation (TEST-NET-3)'],
  ['224.0.0.0/4', 'Multicast'],
  ['240.0.0.0/4', 'Reserved'],
  ['255.255.255.255/32', 'Limited Broadcast'],
  ['::1/128', 'Loopback Address'],
  ['::/128', 'Unspecified Address'],
  ['64:ff9b::/96', 'IPv4-IPv6 Translat.'],
  ['64:ff9b:1::/48', 'IPv4-IPv6 Translat.'],
  ['100::/64', 'Discard-Only Address Block'],
  ['100:0:0:1::/64', 'Dummy IPv6 Prefix'],
  ['2001::/23', 'IETF Protocol Assignments'],
  ['2001::/32', 'TEREDO'],
  ['2001:1::1/128', 'Port Control Protocol Anycast'],
  ['2001:1::2/128', 'Traversal Using Relays around NAT Anycast'],
  ['2001:1::3/128', 'DNS-SD Service Registration Protocol Anycast'],
  ['2001:2::/48', 'Benchmarking'],
  ['2001:3::/32', 'AMT'],
  ['2001:4:112::/48', 'AS112-v6'],
  ['2001:10::/28', 'Deprecated (previously ORCHID)'],
  ['2001:20::/28', 'ORCHIDv2'],
  ['2001:30::/28', 'Drone Remote ID Protocol Entity Tags (DETs) Prefix'],
  ['2001:db8::/32', 'Documentation'],
  ['2002::/16', '6to4'],
  ['2620:4f:8000::/48', 'Direct Delegation AS112 Service'],
  ['3fff::/20', 'Documentation'],
  ['5f00::/16', 'Segment Routing (SRv6) SIDs'],
  ['fc00::/7', 'Unique-Local'],
  ['fe80::/10', 'Link-Local Unicast'],
  ['ff00::/8', 'Multicast'],
];

const metadata = [
  ...['169.254.169.254', '169.254.169.253', '169.254.170.2', '169.254.170.23', '169.254.42.42', '169.254.0.23'],
  ...['100.100.100.200', '168.63.129.16', '192.0.0.192'],
  ...['fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254', 'fd00:c1::a9fe:a9fe', 'fd00:42::42', 'fd00:a9fe:a9fe::1'],
  ...['fd00:100::100:200', 'fe80::a9fe:a9fe'],
];

// Addresses as one number, without the library that is under test.
interface Network {
  family: 4 | 6;
  first: bigint;
  last: bigint;
}

function numberOf(ip: string): bigint {
  if (isIP(ip) === 4) return ip.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  const [head = '', tail] = ip.split('::');
  const groups = (text: string) => text.split(':').filter(Boolean);
  const fill = tail === undefined ? [] : Array(8 - groups(head).length - groups(tail).length).fill('0');
  return [...groups(head), ...fill, ...groups(tail ?? '')].reduce(
    (sum, part) => sum * 65536n + BigInt(`0x${part}`),
    0n,
  );
}

function textOf(family: 4 | 6, address: bigint): string {
  const parts = Array.from({ length: family === 4 ? 4 : 8 }, (_, i, bits = family === 4 ? 8 : 16) =>
    BigInt.asUintN(bits, address >> BigInt(bits * ((family === 4 ? 3 : 7) - i))),
  );
  return family === 4 ? parts.join('.') : parts.map((part) => part.toString(16)).join(':');
}

function networkOf(cidr: string): Network {
  const [ip = '', prefix] = cidr.split('/');
  const family = isIP(ip) as 4 | 6;
  const size = 1n << BigInt((family === 4 ? 32 : 128) - Number(prefix));
  return { family, first: numberOf(ip), last: numberOf(ip) + size - 1n };
}

const registered = iana.map(([cidr, name]) => ({ cidr, name, ...networkOf(cidr) }));

/** The narrowest registered range that holds an address. */
function expectedRange(family: 4 | 6, address: bigint) {
  const hits = registered.filter((range) => range.family === family && range.first <= address && address <= range.last);
  return hits.sort((a, b) => Number(a.last - a.first - (b.last - b.first)))[0];
}

function expectJudgement(family: 4 | 6, address: bigint): void {
  const ip = textOf(family, address);
  const judgement = addressProblem(ip, strict);
  const range = expectedRange(family, address);
  if (range) expect([ip, judgement]).toEqual([ip, expect.stringContaining(`${ip} (${range.cidr}, ${range.name}`)]);
  else if (family === 4 || address >> 125n === 1n) expect([ip, judgement]).toEqual([ip, undefined]);
  else expect([ip, judgement]).toEqual([ip, expect.stringContaining(' is refused. ')]);
}

describe('public unicast only', () => {
  test.each(registered)('$cidr $name: inside, and just outside', ({ family, first, last }) => {
    expectJudgement(family, first);
    expectJudgement(family, last);
    if (first > 0n) expectJudgement(family, first - 1n);
    if (last + 1n < 1n << (family === 4 ? 32n : 128n)) expectJudgement(family, last + 1n);
  });

  test('any address is judged as the registries say', () => {
    const next = seeded(3);
    for (let round = 0; round < 5_000; round++) {
      const ip = Array.from({ length: 4 }, () => next(256)).join('.');
      if (!metadata.includes(ip)) expectJudgement(4, numberOf(ip));
      // Half of them in 2000::/3, and never the one bit pattern that marks ISATAP.
      const high = BigInt(next(2) === 0 ? 0x2000 + next(0x2000) : next(0x1_0000));
      expectJudgement(
        6,
        (high << 112n) | (BigInt(next(2 ** 31)) << 80n) | 0x1234_0000_0000_0000n | BigInt(next(2 ** 31)),
      );
    }
  });

  test.each([
    ['1.1.1.1'],
    ['93.184.215.14'],
    ['2606:4700:4700::1111'],
    ['2a00:1450:4001:829::200e'],
    ['::ffff:8.8.8.8'],
    ['::ffff:808:808'],
  ])('%s may be dialled', (ip) => {
    expect(addressProblem(ip, strict)).toBeUndefined();
  });

  test.each(['', 'example.com', '10.0.0', '0x7f.1', '1.1.1.1/32', '[::1]', '2606:4700::1111%eth0', 'fe80::1%1'])(
    'what is no plain address is refused: "%s"',
    (ip) => expect(addressProblem(ip, everything)).toMatch(/is refused/),
  );

  test('a refusal says what, why, and what to do', () => {
    expect(addressProblem('10.0.0.7', strict)).toBe(
      'private address 10.0.0.7 (10.0.0.0/8, Private-Use) is refused. An operator can open it: add 10.0.0.7/32 to ROWHOOK_ALLOW_CIDRS.',
    );
    expect(addressProblem('::ffff:10.0.0.7', strict)).toContain(
      'private address ::ffff:10.0.0.7 (10.0.0.0/8, Private-Use)',
    );
    expect(addressProblem('127.0.0.1', strict)).toMatch(
      /^special-purpose address 127\.0\.0\.1 \(127\.0\.0\.0\/8, Loopback\)/,
    );
    expect(addressProblem('169.254.169.254', strict)).toMatch(
      /is refused\. No setting opens it\. Give the webhook another URL\.$/,
    );
  });
});

describe('settings', () => {
  test('ROWHOOK_ALLOW_CIDRS opens its ranges and nothing beside them', () => {
    const opened = policy({ allowCidrs: ['10.1.0.0/16', 'fd12:3456::/32', '127.0.0.1'] });
    expect(addressProblem('10.1.255.255', opened)).toBeUndefined();
    expect(addressProblem('::ffff:10.1.2.3', opened)).toBeUndefined();
    expect(addressProblem('10.2.0.0', opened)).toMatch(/ROWHOOK_ALLOW_CIDRS/);
    expect(addressProblem('fd12:3456::1', opened)).toBeUndefined();
    expect(addressProblem('fd12:3457::1', opened)).toMatch(/Unique-Local/);
    expect(addressProblem('127.0.0.1', opened)).toBeUndefined();
    expect(addressProblem('127.0.0.2', opened)).toMatch(/Loopback/);
  });

  test.each(metadata)('the metadata address %s is opened by none', (ip) => {
    const exact = policy({ allowCidrs: [`${ip}/${isIP(ip) === 4 ? 32 : 128}`, ip, '0.0.0.0/0', '::/0'] });
    expect(addressProblem(ip, exact)).toMatch(/No setting opens it\. Give the webhook another URL\.$/);
    if (isIP(ip) === 4)
      expect(addressProblem(`::ffff:${ip}`, exact)).toMatch(/No setting opens it\. Give the webhook another URL\.$/);
  });

  test('ROWHOOK_DENY_CIDRS wins over everything, in either spelling', () => {
    const closed = policy({
      allowCidrs: ['10.0.0.0/8'],
      denyCidrs: ['10.1.0.0/16', '8.8.8.0/24', '::ffff:9.9.9.9/128'],
    });
    expect(addressProblem('10.2.0.1', closed)).toBeUndefined();
    expect(addressProblem('10.1.0.1', closed)).toBe(
      'denied address 10.1.0.1 (ROWHOOK_DENY_CIDRS) is refused. Use another address, or ask an operator.',
    );
    expect(addressProblem('8.8.8.8', closed)).toMatch(/^denied/);
    expect(addressProblem('::ffff:8.8.8.8', closed)).toMatch(/^denied/);
    expect(addressProblem('9.9.9.9', closed)).toMatch(/^denied/);
    expect(addressProblem('9.9.9.8', closed)).toBeUndefined();
  });

  test("a webhook's allowed_ips narrow, and never widen", () => {
    const own = ['93.184.0.0/16', '10.0.0.0/8', '2606:4700::/32'];
    expect(addressProblem('93.184.215.14', strict, own)).toBeUndefined();
    expect(addressProblem('2606:4700::1', strict, own)).toBeUndefined();
    expect(addressProblem('1.1.1.1', strict, own)).toBe(
      "unlisted address 1.1.1.1 (outside the webhook's allowed_ips) is refused. Add its range to allowed_ips.",
    );
    expect(addressProblem('10.0.0.7', strict, own)).toMatch(/ROWHOOK_ALLOW_CIDRS/);
    expect(addressProblem('1.1.1.1', strict, [])).toBeUndefined();
  });

  test.each([
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '10/8',
    'all',
    '',
    'fe80::%1/64',
    '::/129',
    '0x0a.0.0.0/8',
  ])('a range that is none is an error: "%s"', (cidr) =>
    expect(() => policy({ allowCidrs: [cidr] })).toThrow(/is not an address range/),
  );
});

describe('an IPv4 address inside an IPv6 one', () => {
  const forms: readonly (readonly [string, (hex: string) => string])[] = [
    ['IPv4-Compatible', (hex) => `::${hex}`],
    ['IPv4-Translated', (hex) => `::ffff:0:${hex}`],
    ['IPv4-IPv6 Translat.', (hex) => `64:ff9b::${hex}`],
    ['IPv4-IPv6 Translat.', (hex) => `64:ff9b:1::${hex}`],
    ['IPv4-IPv6 Translat.', (hex) => `64:ff9b:1:ffff:ffff::${hex}`],
    ['6to4', (hex) => `2002:${hex}::1`],
    ['TEREDO', (hex) => `2001:0:${hex}::1`],
    ['ISATAP', (hex) => `2606:4700::5efe:${hex}`],
    ['ISATAP', (hex) => `2606:4700::200:5efe:${hex}`],
    ['ISATAP', (hex) => `fd12::5efe:${hex}`],
  ];
  const hex = { '10.0.0.7': 'a00:7', '127.0.0.1': '7f00:1', '169.254.169.254': 'a9fe:a9fe', '8.8.8.8': '808:808' };

  test.each(forms)('as %s is refused, whatever the inner address', (name, form) => {
    for (const inner of Object.values(hex)) {
      expect(addressProblem(form(inner), strict)).toContain(name);
      // Opening the inner address does not open the outer one.
      expect(addressProblem(form(inner), policy({ allowCidrs: ['0.0.0.0/0'] }))).toContain(name);
    }
  });

  test.each(forms.filter((_, i) => i !== 2))('as %s is opened by no setting', (name, form) => {
    for (const inner of Object.values(hex)) expect(addressProblem(form(inner), everything)).toContain(name);
  });

  test('as NAT64 can be opened, and is judged once more as IPv4', () => {
    const nat64 = policy({ allowCidrs: ['64:ff9b::/96', '0.0.0.0/0'], denyCidrs: ['9.9.9.9'] });
    expect(addressProblem('64:ff9b::808:808', nat64)).toBeUndefined();
    expect(addressProblem('64:ff9b::a00:7', nat64)).toBe(
      'private address 64:ff9b::a00:7 (10.0.0.0/8, Private-Use) is refused. No setting opens it. Give the webhook another URL.',
    );
    expect(addressProblem('64:ff9b::a9fe:a9fe', nat64)).toMatch(/Link Local/);
    expect(addressProblem('64:ff9b::909:909', nat64)).toMatch(/^denied/);
  });

  test('as IPv4-mapped is judged as that IPv4 address', () => {
    expect(addressProblem('::ffff:a00:7', strict)).toMatch(/Private-Use/);
    expect(addressProblem('::ffff:a00:7', policy({ allowCidrs: ['10.0.0.0/8'] }))).toBeUndefined();
    expect(addressProblem('::ffff:a00:7', policy({ allowCidrs: ['::ffff:10.0.0.0/104'] }))).toBeUndefined();
    expect(addressProblem('10.0.0.7', policy({ allowCidrs: ['::/0'] }))).toMatch(/Private-Use/);
  });
});

describe('URLs', () => {
  test.each([
    'https://example.com/hooks?token=1#x',
    'https://example.com:8443/',
    'https://EXAMPLE.com./',
    'https://bücher.example/',
    'https://1.1.1.1/',
    'https://[2606:4700:4700::1111]:8443/x',
    'https://localhost/',
    'https://metadata.google.internal/',
    'https://example.com:65535/',
  ])('%s may be a webhook', (url) => {
    expect(urlProblem(url, strict)).toBeUndefined();
  });

  test.each([
    ['http://example.com/', /ROWHOOK_ALLOW_HTTP/],
    ['ftp://example.com/', /"ftp:" is refused/],
    ['file:///etc/passwd', /"file:" is refused/],
    ['unix:/var/run/docker.sock', /"unix:" is refused/],
    ['data:text/plain,x', /"data:" is refused/],
    ['javascript:alert(1)', /"javascript:" is refused/],
    ['', /not valid/],
    ['example.com', /not valid/],
    ['https://', /not valid/],
    ['https://:443/', /not valid/],
    ['https://exa mple.com/', /not valid/],
    ['https://1.2.3.4.5/', /not valid/],
    ['https://256.256.256.256/', /not valid/],
    ['https://[fe80::1%25eth0]/', /not valid/],
    ['https://[fe80::1%eth0]/', /not valid/],
    ['https://example.com:65536/', /not valid/],
    ['https://example.com:0/', /Port 0/],
    ['https://example.com:22/', /Port 22/],
    ['https://example.com:6667/', /Port 6667/],
    ['https://user@example.com/', /user name or a password/],
    ['https://:secret@example.com/', /user name or a password/],
    ['https://1.1.1.1@10.0.0.7/', /user name or a password/],
    ['https:10.0.0.7', /Private-Use/],
    ['https:\\\\10.0.0.7\\', /Private-Use/],
    ['https://10.0.0.7#@1.1.1.1/', /Private-Use/],
    ['https://10.0.0.7\\@1.1.1.1/', /Private-Use/],
    [`https://example.com/${'x'.repeat(2_048)}`, /longer than 2048 characters/],
  ])('%s may not', (url, why) => {
    expect(urlProblem(url, strict)).toMatch(why);
  });

  test('no refusal repeats the secrets of a URL', () => {
    for (const url of [
      'http://u:hunter2@example.com/hunter2?hunter2',
      'https://u:hunter2@10.0.0.7/',
      'https://h ost/hunter2',
    ]) {
      expect(urlProblem(url, strict)).not.toContain('hunter2');
    }
  });

  test('http: only where an operator wants it, and guarded alike', () => {
    const plain = policy({ allowHttp: true });
    expect(urlProblem('http://example.com/', plain)).toBeUndefined();
    expect(urlProblem('http://2130706433/', plain)).toMatch(/Loopback/);
    expect(urlProblem('ftp://example.com/', plain)).toMatch(/refused/);
  });

  test('ports are blocked exactly where fetch blocks them', async () => {
    const ports = Array.from({ length: 65_536 }, (_, port) => port);
    const blocked = ports.filter((port) => urlProblem(`https://example.com:${port}/`, strict));
    expect(blocked).toHaveLength(83);
    for (const port of blocked.filter((each) => each > 0)) {
      await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toMatchObject({ cause: { message: 'bad port' } });
    }
  });
});

// The real net.connect. Every address that it begins to dial is counted.
const dialled: string[] = [];

function dial(host: string, port: number, lookup: LookupFunction): Promise<Error | undefined> {
  const { promise, resolve } = Promise.withResolvers<Error | undefined>();
  const socket = connect({ host, port, lookup, autoSelectFamily: true });
  socket.on('connectionAttempt', (ip) => dialled.push(ip));
  socket.on('error', (error) => resolve(error instanceof AggregateError ? error.errors[0] : error));
  socket.on('connect', () => resolve(undefined));
  return promise.finally(() => socket.destroy());
}

describe('at dial time', () => {
  test.each([
    [['10.0.0.7']],
    [['1.1.1.1', '10.0.0.7']],
    [['2606:4700::1', '1.1.1.1', '::1']],
    [['1.1.1.1', '::ffff:169.254.169.254']],
    [['fe80::1%eth0']],
  ])('one bad address refuses the name: %s', async (ips) => {
    dialled.length = 0;
    const error = await dial('hooks.example', 443, guardedLookup(strict, undefined, answer(...ips)));
    expect(error).toBeInstanceOf(AddressRefused);
    expect(error).toMatchObject({
      code: 'address_refused',
      message: expect.stringMatching(/^"hooks\.example" is refused: /),
    });
    expect(dialled).toEqual([]);
  });

  test('the refusal of a name does not tell its address', async () => {
    const error = await dial('db.internal', 443, guardedLookup(strict, undefined, answer('10.20.30.40')));
    expect(error?.message).toBe(
      '"db.internal" is refused: private address (10.0.0.0/8, Private-Use). An operator can open it: add 10.0.0.0/8 to ROWHOOK_ALLOW_CIDRS.',
    );
  });

  test('allowed_ips are asked for names as well', async () => {
    const error = await dial('hooks.example', 443, guardedLookup(strict, ['2.0.0.0/8'], answer('1.1.1.1')));
    expect(error?.message).toMatch(/unlisted address \(outside the webhook's allowed_ips\)/);
  });

  test('the address that was judged is the one that is dialled: a second answer is never asked for', async () => {
    const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    let answers = 0;
    const rebinding: Resolve = (hostname, options, callback) =>
      answer(answers++ === 0 ? '127.0.0.1' : '127.0.0.66')(hostname, options, callback);
    dialled.length = 0;
    const open = policy({ allowCidrs: ['127.0.0.1/32'] });
    expect(await dial('hooks.example', port, guardedLookup(open, undefined, rebinding))).toBeUndefined();
    expect([answers, dialled]).toEqual([1, ['127.0.0.1']]);
    server.close();
  });

  test('the errors of the resolver stay what they are', async () => {
    const failing: Resolve = (_hostname, _options, callback) =>
      callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), []);
    expect(await dial('gone.example', 443, guardedLookup(strict, undefined, failing))).toMatchObject({
      code: 'ENOTFOUND',
    });
    expect(await dial('void.example', 443, guardedLookup(strict, undefined, answer()))).toMatchObject({
      code: 'ENOTFOUND',
    });
  });

  test.each(['localhost', '127.1', '0x7f.1', '2130706433', '017700000001', '0'])(
    'the system resolver reads "%s" as this machine, and it is refused',
    async (host) => {
      dialled.length = 0;
      expect(await dial(host, 9, guardedLookup(strict))).toBeInstanceOf(Error);
      expect(dialled).toEqual([]);
    },
  );

  test('a caller that wants one address gets the first', async () => {
    const { promise, resolve } = Promise.withResolvers<unknown[]>();
    guardedLookup(strict, undefined, answer('1.1.1.1', '1.0.0.1'))('hooks.example', {}, (...given) => resolve(given));
    expect(await promise).toEqual([null, '1.1.1.1', 4]);
  });
});

test('no spelling of a private address reaches connect()', async () => {
  const next = seeded(42);
  const pick = <T>(from: readonly T[]): T => from[next(from.length)] as T;
  const v4 = registered.filter(({ family }) => family === 4);
  const v6 = registered.filter(({ family }) => family === 6);
  const within = ({ first, last }: Network) => {
    const span = last - first + 1n;
    return first + (((BigInt(next(2 ** 31)) << 93n) | (BigInt(next(2 ** 31)) << 62n) | BigInt(next(2 ** 31))) % span);
  };

  const based = (value: bigint) =>
    pick([
      String(value),
      `0${value.toString(8)}`,
      `0x${value.toString(16)}`,
      `0X${value.toString(16).toUpperCase()}`,
      `000${value.toString(8)}`,
    ]);
  const spellV4 = (address: bigint) => {
    const count = 1 + next(4);
    const head = Array.from({ length: count - 1 }, (_, i) => BigInt.asUintN(8, address >> BigInt(24 - 8 * i)));
    const tail = BigInt.asUintN(32 - 8 * (count - 1), address);
    return [...head, tail].map(based).join('.') + pick(['', '', '.']);
  };
  const groups = (address: bigint) => textOf(6, address).split(':');
  const spellV6 = (address: bigint) => {
    const parts = groups(address).map((part) => pick([part, part.padStart(4, '0'), part.toUpperCase()]));
    const dotted = [...parts.slice(0, 6), textOf(4, BigInt.asUintN(32, address))].join(':');
    return `[${pick([parts.join(':'), dotted, parts.join(':').replace(/(^|:)0+(:0+)+(:|$)/, '::')])}${pick(['', '', '', '%25eth0', '%1'])}]`;
  };
  const embed = (address: bigint) => {
    const [high, low] = groups(address).slice(6);
    const dotted = textOf(4, address);
    return pick([
      `[::ffff:${dotted}]`,
      `[::ffff:${high}:${low}]`,
      `[::${dotted}]`,
      `[64:ff9b::${dotted}]`,
      `[2002:${high}:${low}::]`,
      `[::ffff:0:${dotted}]`,
      `[2606::5efe:${dotted}]`,
    ]);
  };
  const fullWidth = (text: string) =>
    text.replace(/[0-9a-fx.]/g, (char) =>
      next(3) === 0
        ? char === '.'
          ? pick(['。', '．', '｡'])
          : String.fromCodePoint(char.charCodeAt(0) + 0xfee0)
        : char,
    );
  const percent = (text: string) =>
    text.replace(/[0-9a-fx.]/g, (char) => (next(4) === 0 ? `%${char.charCodeAt(0).toString(16)}` : char));
  const around = (host: string) =>
    pick([
      `https://${host}/`,
      `https://${host}`,
      `https://${host}:8443/x`,
      `https:${host}`,
      `https:\\\\${host}\\`,
      ` https://${host}/ `,
      `ht\ntps://${host}/`,
      `https://${host}#@1.1.1.1`,
      `https://1.1.1.1@${host}/`,
      `HTTPS:////${host}/`,
    ]);

  const names = new Map<string, string>();
  const resolver: Resolve = (hostname, options, callback) =>
    answer('1.1.1.1', names.get(hostname) ?? '10.0.0.7')(hostname, options, callback);
  const seen = { refusedAsUrl: 0, refusedAtDial: 0, invalid: 0 };
  dialled.length = 0;
  for (let round = 0; round < 6_000; round++) {
    const [inV4, inV6] = [within(pick(v4)), within(pick(v6))];
    const name = `h${round}.example`;
    names.set(name, next(2) === 0 ? textOf(4, inV4) : textOf(6, inV6));
    const host = pick([
      () => spellV4(inV4),
      () => fullWidth(spellV4(inV4)),
      () => percent(spellV4(inV4)),
      () => spellV6(inV6),
      () => embed(inV4),
      () => name,
    ])();
    const url = around(host);
    const problem = urlProblem(url, strict);
    if (problem?.includes('not valid')) seen.invalid++;
    else if (problem) seen.refusedAsUrl++;
    // The connector alone must hold as well: a URL may have been stored before the settings were what they are.
    const parsed = URL.parse(url);
    if (parsed === null) continue;
    const hostname = parsed.hostname.replace(/^\[|\]$/g, '');
    if (literalProblem(parsed.hostname, strict)) continue;
    expect([url, isIP(hostname)]).toEqual([url, 0]);
    const error = await dial(hostname, 8443, guardedLookup(strict, undefined, resolver));
    expect([url, error]).toEqual([url, expect.any(AddressRefused)]);
    seen.refusedAtDial++;
  }
  expect(dialled).toEqual([]);
  // The generator reached all three walls, many times each.
  expect(Math.min(...Object.values(seen))).toBeGreaterThan(200);
});

/** Whole numbers below `limit`, the same in every run. */
function seeded(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}
