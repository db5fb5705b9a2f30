import { describe, expect, test } from 'vitest';
import { readSettings, SETTINGS } from '../../src/config/settings.ts';
import { displayDatabase } from '../../src/connection/target.ts';
import { UserError } from '../../src/shared/user-error.ts';

const DATABASE_URL = 'postgres://app:hunter2@localhost:5432/app';

function problemsOf(flags: Record<string, unknown>, env: NodeJS.ProcessEnv): string {
  try {
    readSettings(flags, { DATABASE_URL, ...env });
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).exitCode).toBe(2);
    return (error as UserError).message;
  }
  throw new Error('the settings were accepted');
}

describe('readSettings', () => {
  test('has a default for everything but the database', () => {
    expect(readSettings({}, { DATABASE_URL })).toEqual({
      databaseUrl: DATABASE_URL,
      environment: undefined,
      maxInFlight: 256,
      wake: 'notify',
      httpHost: '127.0.0.1',
      httpPort: 9464,
      metricsLabels: 'none',
      allowHttp: false,
      allowCidrs: [],
      denyCidrs: [],
      proxyUrl: undefined,
      logLevel: 'info',
      retentionDays: 30,
      disableAfterFailures: 50,
      disableAfterDays: 3,
    });
  });

  test('reads the environment, and a flag wins over it', () => {
    const env = { DATABASE_URL, ROWHOOK_MAX_IN_FLIGHT: '8', ROWHOOK_WAKE: 'POLL', ROWHOOK_ALLOW_HTTP: 'yes' };
    expect(readSettings({}, env)).toMatchObject({ maxInFlight: 8, wake: 'poll', allowHttp: true });
    expect(readSettings({ maxInFlight: '9', wake: 'notify', allowHttp: 'false' }, env)).toMatchObject({
      maxInFlight: 9,
      wake: 'notify',
      allowHttp: false,
    });
    expect(readSettings({ allowHttp: true }, { DATABASE_URL }).allowHttp).toBe(true);
  });

  test('takes an empty value for an unset one', () => {
    const empty = Object.fromEntries(SETTINGS.map((setting) => [setting.env, ' ']));
    expect(readSettings({ maxInFlight: '' }, { ...empty, DATABASE_URL })).toEqual(readSettings({}, { DATABASE_URL }));
  });

  test('reports all problems at once', () => {
    const message = problemsOf(
      { maxInFlight: 'many' },
      { ROWHOOK_WAKE: 'shout', ROWHOOK_HTTP_PORT: '65536', ROWHOOK_RETENTION_DAYS: '0', DATABASE_URL: '' },
    );
    expect(message.split('\n')).toEqual([
      '5 settings are wrong.',
      '  DATABASE_URL is not set. Set it, or give --database-url, such as postgres://user:password@localhost:5432/app.',
      '  --max-in-flight: "many" is not a whole number from 1 to 10000.',
      '  ROWHOOK_WAKE: "shout" is not one of notify, poll.',
      '  ROWHOOK_HTTP_PORT: "65536" is not a whole number from 0 to 65535.',
      '  ROWHOOK_RETENTION_DAYS: "0" is not a whole number from 1 to 3650.',
    ]);
  });

  test('refuses an unknown key and names the nearest', () => {
    expect(problemsOf({}, { ROWHOOK_MAX_INFLIGHT: '8' })).toBe(
      'ROWHOOK_MAX_INFLIGHT is not a rowhook setting. Remove it, or use ROWHOOK_MAX_IN_FLIGHT.',
    );
  });

  test('leaves the tests and Kubernetes their own keys', () => {
    const env = {
      ROWHOOK_TEST_IMAGES: 'postgres:18',
      ROWHOOK_SERVICE_HOST: '10.0.0.1',
      ROWHOOK_SERVICE_PORT: '80',
      ROWHOOK_SERVICE_PORT_HTTP: '80',
      ROWHOOK_PORT: 'tcp://10.0.0.1:80',
      ROWHOOK_PORT_80_TCP_ADDR: '10.0.0.1',
    };
    expect(readSettings({}, { ...env, DATABASE_URL }).httpPort).toBe(9464);
    expect(problemsOf({}, { ROWHOOK_HTTP_PORT: 'tcp://10.0.0.1:80' })).toContain('enableServiceLinks: false');
  });

  test('listens on an address or a name, and refuses what is neither', () => {
    for (const [given, host] of [
      ['[::1]', '::1'],
      ['::', '::'],
      ['db-1.example.com', 'db-1.example.com'],
      ['0.0.0.0', '0.0.0.0'],
    ])
      expect(readSettings({}, { DATABASE_URL, ROWHOOK_HTTP_HOST: given }).httpHost).toBe(host);
    for (const given of ['0.0.0.0:9464', 'http://localhost', '*'])
      expect(problemsOf({}, { ROWHOOK_HTTP_HOST: given })).toContain('is not an address or a host name');
  });

  test.each(['1.5', '-1', '0x10', '1e2', '99999'])('refuses %j requests in flight', (text) => {
    expect(problemsOf({}, { ROWHOOK_MAX_IN_FLIGHT: text })).toContain('is not a whole number from 1 to 10000');
  });

  test('reads lists of ranges, and takes an address for the range of itself', () => {
    const env = { DATABASE_URL, ROWHOOK_ALLOW_CIDRS: '10.0.0.0/8, fd00::/8,,127.0.0.1', ROWHOOK_DENY_CIDRS: '::1' };
    expect(readSettings({}, env)).toMatchObject({
      allowCidrs: ['10.0.0.0/8', 'fd00::/8', '127.0.0.1/32'],
      denyCidrs: ['::1/128'],
    });
  });

  test.each([
    '10.0.0.0/33',
    '10.0.0/8',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    'fd00::/129',
    'fe80::1%eth0',
    'localhost',
    '10.0.0.0/-1',
  ])('refuses %s as a range', (range) => {
    expect(problemsOf({}, { ROWHOOK_DENY_CIDRS: `10.0.0.0/8,${range}` })).toContain(
      `contains "${range}", which is not an address range`,
    );
  });

  test.each([
    'postgres:///app?host=/run/postgresql',
    'postgres://app@/app?host=/run/postgresql',
    'postgresql://app@[::1]:5432/app?sslmode=verify-full',
    'postgres://app:hunter2#x@localhost/app?sslmode=allow',
    'postgresql://h1:5432,[::1]:5433,h3/app?target_session_attrs=read-write&load_balance_hosts=random',
    'postgres://app@localhost/app?sslmode=require&channel_binding=require&gssencmode=prefer',
    "host=localhost,db.example.com port=5432 password='a \\\\ \\' quote' dbname = app",
  ])('takes %s for a database', (url) => {
    expect(readSettings({ databaseUrl: url }, {}).databaseUrl).toBe(url);
  });

  test.each([
    ['mysql://app:hunter2@localhost/app', 'postgres://'],
    ['hunter2', 'is not a connection string. Write postgres://'],
    ["host=localhost password='hunter2", 'not of the form host=localhost dbname=app'],
    ['postgres://app:hunter2#x@localhost:x/app', '%2F'],
    ['postgres://app:p@hunter2@localhost/app', '%40 for @'],
    ['postgres://app:1/hunter2@localhost/app', '%2F for /'],
    ['postgres://app:hunter2/x@localhost/app', '%40 for @ and %2F for /'],
    ['postgres://app:hunter2@localhost:1:2/app', 'is not a valid URL'],
    ['postgres://app:hunter2@::1/app', 'an IPv6 address in brackets'],
    ['postgres://app:hunter2@localhost:0/app', 'a port that is not a number from 1 to 65535'],
    ['postgres://app:hunter2@localhost/app?host=a,b&port=1,2,3', 'has 2 hosts and 3 ports'],
    ['postgres://app:hunter2@a,b/app?hostaddr=127.0.0.1', 'has 2 hosts and 1 addresses in hostaddr'],
    ['postgres://app:hunter2%@localhost/app', 'has a % that does not begin a percent-encoded character'],
    ['postgres://app:hunter2@localhost/app?sslmode', 'not of the form name=value'],
    ['postgres://app:hunter2@localhost/app?sslmode=all', 'sslmode=all, which is not one of disable, allow, prefer'],
    ['postgres://app:hunter2@localhost/app?sslmode=verify-ca', 'which needs a CA. Add sslrootcert=/path/to/ca.pem'],
    ['postgres://app:hunter2@localhost/app?sslmode=require&sslrootcert=system', 'Write sslmode=verify-full'],
    ['postgres://app:hunter2@localhost/app?sslnegotiation=direct', 'Write sslmode=require'],
    ['postgres://app:hunter2@localhost/app?gssencmode=require', 'gssencmode=require, which is not one of'],
    [
      'postgres://app:hunter2@localhost/app?target_session_attrs=master',
      'target_session_attrs=master, which is not one of',
    ],
    ['postgres://app:hunter2@localhost/app?connect_timeout=soon', 'connect_timeout=soon, which is not a number'],
    [
      'postgres://app:hunter2@localhost/app?keepalives_count=3',
      'has "keepalives_count", which rowhook does not support',
    ],
    ['postgres://app:hunter2@localhost/app?require_auth=none', 'has "require_auth", which rowhook does not support'],
    [
      'postgres://app:hunter2@localhost/app?schema=public',
      'has "schema", which is not a connection parameter of libpq',
    ],
    ['host=localhost password=hunter2 hsot=x', 'has "hsot", which is not a connection parameter of libpq'],
  ])('refuses %s without printing its password', (url, remedy) => {
    const message = problemsOf({}, { DATABASE_URL: url });
    expect(message).toContain(remedy);
    expect(message).not.toContain('hunter2');
  });

  test('takes the URL of an HTTP proxy', () => {
    const read = (text: string) => readSettings({}, { DATABASE_URL, ROWHOOK_PROXY_URL: text }).proxyUrl;
    expect(read('http://proxy.example:3128')).toBe('http://proxy.example:3128/');
    expect(read('https://user:p%40ss@[::1]/')).toBe('https://user:p%40ss@[::1]/');
  });

  test.each([
    'proxy.example:3128',
    'socks5://user:hunter2@proxy.example',
    'http://user:hunter2@proxy.example/path',
    'http://user:hunter2@proxy.example/?a=b',
    'http://user:hunter2%zz@proxy.example',
    'http://user:hunter2%ff@proxy.example',
    'http://hunter2%c3:%a4@proxy.example',
    'http://user:hunter2@',
    'user:hunter2',
  ])('refuses %s as a proxy without printing its password', (text) => {
    for (const message of [problemsOf({}, { ROWHOOK_PROXY_URL: text }), problemsOf({ proxyUrl: text }, {})]) {
      expect(message).toMatch(/^(ROWHOOK_PROXY_URL|--proxy-url) is not the URL of an HTTP proxy\. Write it as http:/);
      expect(message).not.toContain('hunter2');
    }
  });

  test('says what it is for, once for every setting, and the flag bears the name', () => {
    expect(SETTINGS.map((setting) => setting.name).sort()).toEqual(
      Object.keys(readSettings({}, { DATABASE_URL })).sort(),
    );
    for (const { name, env, flag, help } of SETTINGS) {
      const kebab = name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      expect(flag.split(' ')[0]).toBe(`--${kebab}`);
      expect(env.replace('ROWHOOK_', '')).toBe(kebab.replaceAll('-', '_').toUpperCase());
      expect(help).not.toBe('');
    }
  });
});

test.each([
  ['postgres://app:hunter2@db.example.com/shop?sslmode=require', 'database "shop" at db.example.com:5432'],
  ['postgres://app:hunter2@[::1]:6000', 'database "app" at [::1]:6000'],
  ['postgres://app@/shop?host=/run/postgresql', 'database "shop" at /run/postgresql:5432'],
  ['postgres:///shop?password=hunter2&port=5999', 'database "shop" at localhost:5999'],
  ['postgres://app:hunter2@a,b:6000/shop', 'database "shop" at a:5432, b:6000'],
  ['host=a,b port=6000 dbname=shop password=hunter2', 'database "shop" at a:6000, b:6000'],
  ['postgres://app:hunter2@a,b:x/shop', 'the database'],
])('%s is shown as %s', (url, shown) => {
  expect(displayDatabase(url)).toBe(shown);
});
