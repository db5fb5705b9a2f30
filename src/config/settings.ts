/**
 * Settings come from a flag or from the environment. A flag wins. One table drives parsing,
 * `--help` and docs/operate/configuration.md.
 *
 * An empty value counts as unset, because Compose files and Helm charts write `ROWHOOK_X=${X:-}`. A
 * misspelt key would silently keep a default, so unknown `ROWHOOK_*` keys are errors. All problems
 * are reported at once.
 */

import { boolean, cidrs, databaseUrl, environment, httpHost, oneOf, proxyUrl, wholeNumber } from './parse.ts';
import { readTable, type Setting } from './read-table.ts';
import { OWN_SETTINGS, type OwnSettings } from './serve-settings.ts';

export interface Settings {
  databaseUrl: string;
  environment: string | undefined;
  maxInFlight: number;
  wake: 'notify' | 'poll';
  httpHost: string;
  httpPort: number;
  metricsLabels: 'none' | 'tenant' | 'webhook';
  allowHttp: boolean;
  allowCidrs: string[];
  denyCidrs: string[];
  proxyUrl: string | undefined;
  logLevel: string;
  retentionDays: number;
  disableAfterFailures: number;
  disableAfterDays: number;
}

export type AnySetting = { [K in keyof Settings]: Setting<K, Settings[K]> }[keyof Settings];

export const SETTINGS: readonly AnySetting[] = [
  {
    name: 'databaseUrl',
    env: 'DATABASE_URL',
    flag: '--database-url <url>',
    fallback: '',
    parse: databaseUrl,
    help:
      'the database, as psql takes it: postgres://user@host/app, or host=… dbname=app; ' +
      'a password in a flag is visible to others in ps',
  },
  {
    name: 'environment',
    env: 'ROWHOOK_ENVIRONMENT',
    flag: '--environment <name>',
    fallback: '',
    parse: environment,
    help:
      'name of this installation, recorded in the database; ' +
      'a daemon with another name, as in a clone, does not start',
  },
  {
    name: 'maxInFlight',
    env: 'ROWHOOK_MAX_IN_FLIGHT',
    flag: '--max-in-flight <n>',
    fallback: '256',
    parse: wholeNumber(1, 10_000),
    help: 'limit on requests in flight, for all webhooks together',
  },
  {
    name: 'wake',
    env: 'ROWHOOK_WAKE',
    flag: '--wake <how>',
    fallback: 'notify',
    parse: oneOf(['notify', 'poll']),
    help: 'how a sleeping daemon notices new events: notify (LISTEN), or poll (transaction poolers, two-phase commit)',
  },
  {
    name: 'httpHost',
    env: 'ROWHOOK_HTTP_HOST',
    flag: '--http-host <address>',
    fallback: '127.0.0.1',
    parse: httpHost,
    help:
      'address on which /healthz, /readyz and /metrics listen; ' +
      ':: for all interfaces, the default of the container image',
  },
  {
    name: 'httpPort',
    env: 'ROWHOOK_HTTP_PORT',
    flag: '--http-port <port>',
    fallback: '9464',
    parse: wholeNumber(0, 65_535),
    help: 'port of /healthz, /readyz and /metrics; 0 turns them off',
  },
  {
    name: 'metricsLabels',
    env: 'ROWHOOK_METRICS_LABELS',
    flag: '--metrics-labels <which>',
    fallback: 'none',
    parse: oneOf(['none', 'tenant', 'webhook']),
    help:
      'labels of rowhook_deliveries_total: none, tenant, or webhook (tenant and webhook id); ' +
      'each value adds a series that stays until the daemon restarts',
  },
  {
    name: 'allowHttp',
    env: 'ROWHOOK_ALLOW_HTTP',
    flag: '--allow-http [boolean]',
    fallback: 'false',
    parse: boolean,
    help: 'deliver to http:// URLs too, not only to https://',
  },
  {
    name: 'allowCidrs',
    env: 'ROWHOOK_ALLOW_CIDRS',
    flag: '--allow-cidrs <list>',
    fallback: '',
    parse: cidrs,
    help: 'private address ranges that webhooks may reach, separated by commas, such as 10.20.0.0/16,fd00:1::/64',
  },
  {
    name: 'denyCidrs',
    env: 'ROWHOOK_DENY_CIDRS',
    flag: '--deny-cidrs <list>',
    fallback: '',
    parse: cidrs,
    help: 'further address ranges that webhooks may not reach, separated by commas',
  },
  {
    name: 'proxyUrl',
    env: 'ROWHOOK_PROXY_URL',
    flag: '--proxy-url <url>',
    fallback: '',
    parse: proxyUrl,
    help:
      'HTTP proxy for all webhook requests (CONNECT), such as http://proxy.example:3128; ' +
      'HTTPS_PROXY and similar variables are not used; a password in a flag is visible to others in ps',
  },
  {
    name: 'logLevel',
    env: 'ROWHOOK_LOG_LEVEL',
    flag: '--log-level <level>',
    fallback: 'info',
    parse: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    help: 'trace, debug, info, warn, error, fatal or silent',
  },
  {
    name: 'retentionDays',
    env: 'ROWHOOK_RETENTION_DAYS',
    flag: '--retention-days <days>',
    fallback: '30',
    parse: wholeNumber(1, 3_650),
    help: 'number of days to keep rows of webhook_logs',
  },
  {
    name: 'disableAfterFailures',
    env: 'ROWHOOK_DISABLE_AFTER_FAILURES',
    flag: '--disable-after-failures <n>',
    fallback: '50',
    parse: wholeNumber(1, 1_000_000),
    help: 'disable a webhook after this number of failed attempts without a success',
  },
  {
    name: 'disableAfterDays',
    env: 'ROWHOOK_DISABLE_AFTER_DAYS',
    flag: '--disable-after-days <days>',
    fallback: '3',
    parse: wholeNumber(0, 365),
    help: 'but only if it has also failed for this number of days',
  },
];

/**
 * Reads every setting of the daemon, or throws one UserError that names every problem. `flags` are
 * commander's, by setting name.
 */
export function readSettings(flags: Readonly<Record<string, unknown>>, env: NodeJS.ProcessEnv): Settings {
  // test/config/settings.unit.test.ts checks the tables.
  return readTable(SETTINGS, flags, env, ALL_KEYS) as unknown as Settings;
}

/** The settings that `serve` shares with the daemon. They mean the same there. */
const SHARED = ['databaseUrl', 'logLevel', 'allowHttp', 'allowCidrs', 'denyCidrs'] as const;

export type ServeSettings = Pick<Settings, (typeof SHARED)[number]> & OwnSettings;

export const SERVE_SETTINGS = [
  ...SETTINGS.filter(({ name }) => (SHARED as readonly string[]).includes(name)),
  ...OWN_SETTINGS,
];

/** One environment file may hold the settings of both processes. */
const ALL_KEYS = [...SETTINGS, ...OWN_SETTINGS].map(({ env }) => env);

/** The same for `rowhook serve`. */
export function readServeSettings(flags: Readonly<Record<string, unknown>>, env: NodeJS.ProcessEnv): ServeSettings {
  return readTable(SERVE_SETTINGS, flags, env, ALL_KEYS, jwtProblems) as unknown as ServeSettings;
}

/** Two kinds of keys at once would let a public key pass as a secret. */
function jwtProblems(values: ReadonlyMap<string, unknown>): string[] {
  const [secret, jwks] = [values.get('jwtSecret'), values.get('jwksUrl')];
  if (secret && jwks) return ['ROWHOOK_JWT_SECRET and ROWHOOK_JWKS_URL cannot be used together. Remove one of them'];
  const missing = ['Issuer', 'Audience'].filter((part) => jwks && !values.get(`jwt${part}`));
  return missing.map((part) => {
    const key = `ROWHOOK_JWT_${part.toUpperCase()}`;
    return `${key} is not set, and ROWHOOK_JWKS_URL needs it. Set it to the ${part.toLowerCase()} of your tokens`;
  });
}
