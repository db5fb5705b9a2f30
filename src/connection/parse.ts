/**
 * Reads a connection string as libpq does. Its two forms are
 * `postgres://user:password@host:1,host:2/database?parameter=value` and `host=… port=… dbname=…`.
 * Messages never quote a value, because it may be the password.
 */
import { checkParameter } from './parameters.ts';

/** Parameters by name, with their values as given. */
export type Given = Map<string, string>;

const ENCODE = 'Percent-encode special characters of the password, such as %40 for @ and %2F for /';

export function parseConnectionString(text: string): Given {
  if (/^postgres(ql)?:\/\//.test(text)) return parseUrl(text.slice(text.indexOf('//') + 2));
  if (text.includes('=') && !/^\w+:\/\//.test(text)) return parseKeywords(text);
  throw new Error('is not a connection string. Write postgres://user@host/database, or host=localhost dbname=app');
}

function parseUrl(rest: string): Given {
  const given: Given = new Map();
  const set = (name: string, text: string) => {
    if (text !== '') given.set(name, decode(text));
  };
  // As in libpq, a password may hold everything except @ and /.
  const [credentials = '', userInfo] = /^([^@/]*)@/.exec(rest) ?? [];
  if (userInfo !== undefined) {
    const colon = userInfo.indexOf(':');
    set('user', colon < 0 ? userInfo : userInfo.slice(0, colon));
    if (colon >= 0) set('password', userInfo.slice(colon + 1));
  }
  const [, authority = '', path = '', query] =
    /^([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(rest.slice(credentials.length)) ?? [];
  const hosts = authority.split(',').map(hostAndPort);
  set('host', hosts.map(({ host }) => host).join(','));
  set('port', hosts.map(({ port }) => port).join(','));
  // If a password contains /, libpq takes its rest as the database name and shows it in messages.
  if (path.includes('@')) throw new Error(`is not a valid URL. ${ENCODE}`);
  set('dbname', path);
  for (const pair of (query ?? '').split('&').filter(Boolean)) {
    const [name = '', value, ...more] = pair.split('=');
    if (value === undefined || more.length > 0) {
      throw new Error(
        'has a parameter that is not of the form name=value. Separate parameters by &, and write = in a value as %3D',
      );
    }
    const [word, is] = sslOf(decode(name), decode(value));
    checkParameter(word, is);
    given.set(word, is);
  }
  return given;
}

/** JDBC's parameter for TLS. libpq accepts it too. */
function sslOf(name: string, value: string): [name: string, value: string] {
  return name === 'ssl' && value === 'true' ? ['sslmode', 'require'] : [name, value];
}

function hostAndPort(text: string): { host: string; port: string } {
  const [whole, bracketed, plain, port] = /^(?:\[([^\]@]+)\]|([^:[\]@]*))(?::([^:]*))?$/.exec(text) ?? [];
  if (whole === undefined || (port !== undefined && !/^\d*$/.test(port))) {
    throw new Error(`is not a valid URL. ${ENCODE}. Put an IPv6 address in brackets, as [::1]:5432`);
  }
  return { host: bracketed ?? plain ?? '', port: port ?? '' };
}

function decode(text: string): string {
  if (/%(?![0-9a-f]{2})|%00/i.test(text))
    throw new Error(`has a % that does not begin a percent-encoded character. ${ENCODE}`);
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error(`has percent-encoded bytes that are not UTF-8. ${ENCODE}`);
  }
}

/**
 * `name = value`. A value with blanks is in single quotes. The character after a backslash is taken
 * literally.
 */
function parseKeywords(text: string): Given {
  const given: Given = new Map();
  const pair = /\s*([^\s=']+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*)?)(?=\s|$)/gsy;
  let read = 0;
  for (const [whole, name = '', quoted, plain = ''] of text.matchAll(pair)) {
    const value = (quoted ?? plain).replace(/\\(.)/gs, '$1');
    checkParameter(name, value);
    given.set(name, value);
    read += whole.length;
  }
  if (text.slice(read).trim() === '') return given;
  throw new Error(
    "is not of the form host=localhost dbname=app. Put a value with blanks in single quotes, and write ' in it as \\'",
  );
}
