/** The settings that only `rowhook serve` has. config/settings.ts reads them. */
import { cidrs, httpHost, wholeNumber } from './parse.ts';
import { anyText, claimName, jwksUrl, jwtSecret, origins, publicUrl, trustProxy } from './parse-serve.ts';
import type { Setting } from './read-table.ts';

export interface OwnSettings {
  apiPort: number;
  apiHost: string;
  apiMetricsPort: number;
  publicUrl: string | undefined;
  trustProxy: number | string[] | undefined;
  frameAncestors: string[];
  corsOrigins: string[];
  jwtSecret: string | undefined;
  jwksUrl: string | undefined;
  jwtIssuer: string | undefined;
  jwtAudience: string | undefined;
  jwtTenantClaim: string;
  jwtScopeClaim: string;
  apiPool: number;
  apiRateLimit: number;
  inboundRateLimit: number;
  egressIps: string[];
}

type OwnSetting = { [K in keyof OwnSettings]: Setting<K, OwnSettings[K]> }[keyof OwnSettings];

export const OWN_SETTINGS: readonly OwnSetting[] = [
  {
    name: 'apiPort',
    env: 'ROWHOOK_API_PORT',
    flag: '--api-port <port>',
    fallback: '8080',
    parse: wholeNumber(0, 65_535),
    help: 'port of the API; 0 chooses a free one',
  },
  {
    name: 'apiHost',
    env: 'ROWHOOK_API_HOST',
    flag: '--api-host <address>',
    fallback: '127.0.0.1',
    parse: httpHost,
    help: 'address on which the API listens; 0.0.0.0 for all interfaces, the default of the container image',
  },
  {
    name: 'apiMetricsPort',
    env: 'ROWHOOK_API_METRICS_PORT',
    flag: '--api-metrics-port <port>',
    fallback: '9465',
    parse: wholeNumber(0, 65_535),
    help: 'port of /metrics of the API, on 127.0.0.1; 0 turns it off',
  },
  {
    name: 'publicUrl',
    env: 'ROWHOOK_PUBLIC_URL',
    flag: '--public-url <url>',
    fallback: '',
    parse: publicUrl,
    help: 'address of the API for others, for links; never taken from a request',
  },
  {
    name: 'trustProxy',
    env: 'ROWHOOK_TRUST_PROXY',
    flag: '--trust-proxy <which>',
    fallback: '',
    parse: trustProxy,
    help: 'proxies whose X-Forwarded-For is believed: their number (1), or their addresses (10.0.0.0/8)',
  },
  {
    name: 'frameAncestors',
    env: 'ROWHOOK_FRAME_ANCESTORS',
    flag: '--frame-ancestors <list>',
    fallback: '',
    parse: origins,
    help: 'web origins that may embed the console, separated by commas; by default nobody',
  },
  {
    name: 'corsOrigins',
    env: 'ROWHOOK_CORS_ORIGINS',
    flag: '--cors-origins <list>',
    fallback: '',
    parse: origins,
    help: 'web origins whose pages may call the API, separated by commas, never with cookies; by default none',
  },
  {
    name: 'jwtSecret',
    env: 'ROWHOOK_JWT_SECRET',
    flag: '--jwt-secret <secret>',
    fallback: '',
    parse: jwtSecret,
    help: "the secret of your application's tokens (HS256), 32 bytes or more; a flag is visible to others in ps",
  },
  {
    name: 'jwksUrl',
    env: 'ROWHOOK_JWKS_URL',
    flag: '--jwks-url <url>',
    fallback: '',
    parse: jwksUrl,
    help: "https URL of the public keys of your application's tokens (RS, ES, EdDSA); needs issuer and audience",
  },
  {
    name: 'jwtIssuer',
    env: 'ROWHOOK_JWT_ISSUER',
    flag: '--jwt-issuer <issuer>',
    fallback: '',
    parse: anyText,
    help: 'the iss that a token must have',
  },
  {
    name: 'jwtAudience',
    env: 'ROWHOOK_JWT_AUDIENCE',
    flag: '--jwt-audience <audience>',
    fallback: '',
    parse: anyText,
    help: 'the aud that a token must have',
  },
  {
    name: 'jwtTenantClaim',
    env: 'ROWHOOK_JWT_TENANT_CLAIM',
    flag: '--jwt-tenant-claim <name>',
    fallback: 'organization_id',
    parse: claimName,
    help: 'the claim that holds the organization',
  },
  {
    name: 'jwtScopeClaim',
    env: 'ROWHOOK_JWT_SCOPE_CLAIM',
    flag: '--jwt-scope-claim <name>',
    fallback: 'scope',
    parse: claimName,
    help: 'the claim that holds the scopes, as a list or separated by blanks; without it a token may read',
  },
  {
    name: 'apiPool',
    env: 'ROWHOOK_API_POOL',
    flag: '--api-pool <n>',
    fallback: '10',
    parse: wholeNumber(1, 1_000),
    help: 'connections of the API to the database',
  },
  {
    name: 'apiRateLimit',
    env: 'ROWHOOK_API_RATE_LIMIT',
    flag: '--api-rate-limit <n>',
    fallback: '600',
    parse: wholeNumber(1, 10_000_000),
    help: 'requests a minute for one API key, counted by each process',
  },
  {
    name: 'inboundRateLimit',
    env: 'ROWHOOK_INBOUND_RATE_LIMIT',
    flag: '--inbound-rate-limit <n>',
    fallback: '600',
    parse: wholeNumber(1, 10_000_000),
    help: 'inbound webhooks a minute for one organization, counted by each process',
  },
  {
    name: 'egressIps',
    env: 'ROWHOOK_EGRESS_IPS',
    flag: '--egress-ips <list>',
    fallback: '',
    parse: cidrs,
    help: 'the addresses that webhooks are sent from, shown to whoever must let them through a firewall',
  },
];
