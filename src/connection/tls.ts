/** TLS as in libpq: which encryption is tried, and what is verified. */
import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { type ConnectionOptions, getCACertificates, type SecureVersion } from 'node:tls';
import { userFile } from './files.ts';
import type { SslMode } from './parameters.ts';
import type { Host } from './target.ts';

export interface TlsSettings {
  readonly mode: SslMode;
  readonly direct: boolean;
  readonly channelBinding: 'disable' | 'prefer' | 'require';
  readonly rootCert: string | undefined;
  readonly crl: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly passphrase: string | undefined;
  readonly sendsCert: boolean;
  readonly minVersion: string | undefined;
  readonly maxVersion: string | undefined;
}

export function tlsSettings(get: (name: string) => string | undefined): TlsSettings {
  const rootCert = get('sslrootcert');
  const mode = (get('sslmode') ?? (rootCert === 'system' ? 'verify-full' : 'prefer')) as SslMode;
  const direct = get('sslnegotiation') === 'direct';
  if (rootCert === 'system' && mode !== 'verify-full') {
    throw new Error(`has sslmode=${mode} with sslrootcert=system. Write sslmode=verify-full`);
  }
  if (direct && ['disable', 'allow', 'prefer'].includes(mode)) {
    throw new Error(`has sslmode=${mode} with sslnegotiation=direct. Write sslmode=require or sslmode=verify-full`);
  }
  if (mode === 'verify-ca' && !rootFile(rootCert)) {
    throw new Error('has sslmode=verify-ca, which needs a CA. Add sslrootcert=/path/to/ca.pem');
  }
  return {
    mode,
    direct,
    channelBinding: (get('channel_binding') ?? 'prefer') as TlsSettings['channelBinding'],
    rootCert,
    crl: get('sslcrl'),
    cert: get('sslcert'),
    key: get('sslkey'),
    passphrase: get('sslpassword'),
    sendsCert: get('sslcertmode') !== 'disable',
    minVersion: get('ssl_min_protocol_version'),
    maxVersion: get('ssl_max_protocol_version'),
  };
}

/** Whether to use TLS, in the order of the tries. A local socket needs no TLS. */
export function encryptions({ mode }: TlsSettings, { name, address = name }: Host): boolean[] {
  if (mode === 'disable' || address.startsWith('/')) return [false];
  if (mode === 'allow') return [false, true];
  return mode === 'prefer' ? [true, false] : [true];
}

/** A file that was named must exist. A file in libpq's own places is used if it exists. */
function rootFile(given: string | undefined): string | undefined {
  return given ?? ownFile('root.crt');
}

function ownFile(name: string): string | undefined {
  const path = userFile(`.postgresql/${name}`, name);
  return existsSync(path) ? path : undefined;
}

export function tlsOptions(settings: TlsSettings, host: Host): ConnectionOptions {
  const root = settings.mode === 'no-verify' ? undefined : rootFile(settings.rootCert);
  const crl = settings.crl ?? ownFile('root.crl');
  const cert = settings.sendsCert ? (settings.cert ?? ownFile('postgresql.crt')) : undefined;
  const key = settings.key ?? ownFile('postgresql.key');
  return {
    ...verification(settings.mode, root),
    // A certificate is checked against the host's name, even if its address is dialled.
    ...(isIP(host.name) === 0 ? { servername: host.name } : { host: host.name }),
    ...(root && crl && { crl: readFileSync(crl) }),
    ...(cert && { cert: readFileSync(cert) }),
    ...(cert && key && { key: readFileSync(key) }),
    ...(settings.passphrase && { passphrase: settings.passphrase }),
    ...(settings.minVersion && { minVersion: versionOf(settings.minVersion) }),
    ...(settings.maxVersion && { maxVersion: versionOf(settings.maxVersion) }),
  };
}

/**
 * If `root` names a CA, the certificate is verified against it in every mode. Without a CA,
 * verify-full uses Node's CAs.
 */
function verification(mode: SslMode, root: string | undefined): ConnectionOptions {
  const ca = root && (root === 'system' ? getCACertificates('system') : readFileSync(root));
  if (mode === 'verify-full') return ca ? { ca } : {};
  return ca ? { ca, checkServerIdentity: () => undefined } : { rejectUnauthorized: false };
}

function versionOf(lower: string): SecureVersion {
  return lower.replace('tlsv', 'TLSv') as SecureVersion;
}
