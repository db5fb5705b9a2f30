/**
 * The connection parameters of libpq, each with its environment variable and with rowhook's support
 * for it.
 *
 * No maintained npm package parses them all. pg-connection-string, which node-postgres uses,
 * supports one host, no service file and no keyword form, and ignores unknown parameters. pgpass
 * finds its file only through the environment. An ignored parameter can lead to another database,
 * or to one that nobody verified. So an unsupported parameter is an error that names it.
 */

export interface Parameter {
  readonly env?: string;
  /** Every supported value, in lower case. Undefined: any value. */
  readonly values?: readonly string[];
  readonly isNumber?: true;
  /** rowhook does not support any value of this parameter. */
  readonly unsupported?: true;
}

const TLS_VERSIONS = ['tlsv1', 'tlsv1.1', 'tlsv1.2', 'tlsv1.3'];
const unsupported = (env?: string): Parameter => ({ ...(env && { env }), unsupported: true });

export const SESSION_ATTRS = ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'] as const;
export type SessionAttrs = (typeof SESSION_ATTRS)[number];

/** no-verify is a word of node-postgres: require, without a check of the certificate. */
export const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'] as const;
export type SslMode = (typeof SSL_MODES)[number];

export const PARAMETERS: Readonly<Record<string, Parameter>> = {
  service: { env: 'PGSERVICE' },
  servicefile: { env: 'PGSERVICEFILE' },
  host: { env: 'PGHOST' },
  hostaddr: { env: 'PGHOSTADDR' },
  port: { env: 'PGPORT' },
  dbname: { env: 'PGDATABASE' },
  user: { env: 'PGUSER' },
  password: { env: 'PGPASSWORD' },
  passfile: { env: 'PGPASSFILE' },
  options: { env: 'PGOPTIONS' },
  application_name: { env: 'PGAPPNAME' },
  fallback_application_name: {},
  connect_timeout: { env: 'PGCONNECT_TIMEOUT', isNumber: true },
  target_session_attrs: { env: 'PGTARGETSESSIONATTRS', values: SESSION_ATTRS },
  load_balance_hosts: { env: 'PGLOADBALANCEHOSTS', values: ['disable', 'random'] },
  keepalives: { values: ['0', '1'] },
  keepalives_idle: { isNumber: true },
  sslmode: { env: 'PGSSLMODE', values: SSL_MODES },
  sslnegotiation: { env: 'PGSSLNEGOTIATION', values: ['postgres', 'direct'] },
  sslcert: { env: 'PGSSLCERT' },
  sslkey: { env: 'PGSSLKEY' },
  sslpassword: {},
  sslcertmode: { env: 'PGSSLCERTMODE', values: ['disable', 'allow'] },
  sslrootcert: { env: 'PGSSLROOTCERT' },
  sslcrl: { env: 'PGSSLCRL' },
  ssl_min_protocol_version: { env: 'PGSSLMINPROTOCOLVERSION', values: TLS_VERSIONS },
  ssl_max_protocol_version: { env: 'PGSSLMAXPROTOCOLVERSION', values: TLS_VERSIONS },
  channel_binding: { env: 'PGCHANNELBINDING', values: ['disable', 'prefer', 'require'] },

  // Supported if the value asks for what rowhook does anyway.
  sslsni: { env: 'PGSSLSNI', values: ['1'] },
  sslcompression: { env: 'PGSSLCOMPRESSION', values: ['0', '1'] }, // libpq ignores it, too
  gssencmode: { env: 'PGGSSENCMODE', values: ['disable', 'prefer'] },
  client_encoding: { env: 'PGCLIENTENCODING', values: ['auto', 'utf8', 'utf-8', 'unicode'] },
  min_protocol_version: { env: 'PGMINPROTOCOLVERSION', values: ['3.0'] },
  max_protocol_version: { env: 'PGMAXPROTOCOLVERSION', values: ['3.0', '3.2', 'latest'] },
  uselibpqcompat: { values: ['true'] }, // node-postgres' word for what rowhook always does

  keepalives_interval: unsupported(),
  keepalives_count: unsupported(),
  tcp_user_timeout: unsupported(),
  require_auth: unsupported('PGREQUIREAUTH'),
  requirepeer: unsupported('PGREQUIREPEER'),
  sslcrldir: unsupported('PGSSLCRLDIR'),
  sslkeylogfile: unsupported(),
  krbsrvname: unsupported('PGKRBSRVNAME'),
  gsslib: unsupported('PGGSSLIB'),
  gssdelegation: unsupported('PGGSSDELEGATION'),
  replication: unsupported(),
  scram_client_key: unsupported(),
  scram_server_key: unsupported(),
  oauth_issuer: unsupported(),
  oauth_client_id: unsupported(),
  oauth_client_secret: unsupported(),
  oauth_scope: unsupported(),
};

/**
 * Throws what is wrong with one parameter. `from` names its place unless it is in the connection
 * string.
 */
export function checkParameter(name: string, value: string, from = ''): void {
  const parameter = Object.hasOwn(PARAMETERS, name) ? PARAMETERS[name] : undefined;
  const where = from && ` (${from})`;
  if (!parameter) {
    // A text that is not a word may be a part of a password.
    const shown = /^\w{1,40}$/.test(name) ? `"${name}"` : 'a parameter';
    throw new Error(`has ${shown}${where}, which is not a connection parameter of libpq. Remove it`);
  }
  if (value === '') return;
  if (parameter.unsupported) throw new Error(`has "${name}"${where}, which rowhook does not support. Remove it`);
  const shown = /^[\w.-]{1,30}$/.test(value) ? `${name}=${value}` : `a value of ${name}`;
  if (parameter.values && !parameter.values.includes(value.toLowerCase())) {
    throw new Error(`has ${shown}${where}, which is not one of ${parameter.values.join(', ')}`);
  }
  if (parameter.isNumber && !/^-?\d{1,9}$/.test(value)) throw new Error(`has ${shown}${where}, which is not a number`);
}
