/**
 * Parsers for the values of settings and flags. Each throws an Error whose message is a verdict:
 * `is not …. Remedy`.
 */
import { isIP } from 'node:net';
import { readTarget } from '../connection/target.ts';

/**
 * Kubernetes sets `ROWHOOK_PORT` or `ROWHOOK_HTTP_PORT` to such a value if a Service has that name.
 */
export const SERVICE_LINK_VALUE = /^(tcp|udp|sctp):\/\//;

/** Accepts what libpq accepts. readTarget reports parts that rowhook does not support. */
export function databaseUrl(text: string): string {
  readTarget(text);
  return text;
}

export function environment(text: string): string {
  if (!/^[\w.-]{1,63}$/.test(text)) throw new Error('is not a name. Use up to 63 letters, digits, ".", "_" and "-"');
  return text;
}

/** An IPv6 address may be in brackets, as in a URL. */
export function httpHost(text: string): string {
  const host = text.replace(/^\[(.*)\]$/, '$1');
  if (isIP(host) !== 0 || /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(host)) return host;
  throw new Error('is not an address or a host name. Use 127.0.0.1, or :: for all interfaces');
}

/** The message does not quote the URL, because it may hold a password. */
export function proxyUrl(text: string): string {
  const url = URL.parse(text);
  const isPlain = url?.pathname === '/' && !url.search && !url.hash && isDecodable(`${url.username}:${url.password}`);
  if (url && isPlain && /^https?:$/.test(url.protocol)) return url.href;
  throw new Error(
    'is not the URL of an HTTP proxy. Write it as http://proxy.example:3128, or http://user:password@…. ' +
      'Percent-encode special characters (UTF-8)',
  );
}

/** `%zz` cannot be decoded, and neither can the byte `%ff` alone. */
function isDecodable(text: string): boolean {
  try {
    return decodeURIComponent(text) !== undefined;
  } catch {
    return false;
  }
}

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    const hint = SERVICE_LINK_VALUE.test(text) ? ' (Kubernetes set this value. Set enableServiceLinks: false)' : '';
    throw new Error(`is not a whole number from ${min} to ${max}${hint}`);
  };
}

export function oneOf<T extends string>(choices: readonly T[]): (text: string) => T {
  return (text) => {
    const choice = choices.find((candidate) => candidate === text.toLowerCase());
    if (choice === undefined) throw new Error(`is not one of ${choices.join(', ')}`);
    return choice;
  };
}

export function boolean(text: string): boolean {
  if (/^(true|1|yes|on)$/i.test(text)) return true;
  if (/^(false|0|no|off)$/i.test(text)) return false;
  throw new Error('is not true or false');
}

/** Returns every range with its prefix. A single address becomes a range of one address. */
export function cidrs(text: string): string[] {
  const ranges = text.split(',').map((part) => part.trim());
  return ranges.filter(Boolean).map((range) => {
    const [address = '', prefix, ...rest] = range.split('/');
    const bits = { 0: 0, 4: 32, 6: 128 }[isIP(address)] ?? 0;
    const valid = bits > 0 && !address.includes('%') && rest.length === 0;
    if (valid && prefix === undefined) return `${address}/${bits}`;
    if (valid && /^\d{1,3}$/.test(prefix ?? '') && Number(prefix) <= bits) return range;
    throw new Error(`contains "${range}", which is not an address range. Write it as 10.20.0.0/16 or fd00:1::/64`);
  });
}

export function webhookId(text: string): string {
  return uuid(text, '"rowhook webhook list" shows the ids');
}

export function deliveryId(text: string): string {
  return uuid(text, '"rowhook deliveries" and "rowhook logs show" show the ids');
}

export function uuid(text: string, remedy: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return text.toLowerCase();
  throw new Error(`is not a UUID. ${remedy}`);
}

/**
 * A time for commands: `2h` means two hours ago. A date may have a time and a zone. Without a zone
 * it is UTC, as in the logs, whatever zone the database or the terminal has. Returns `2h`, or a
 * time with its zone.
 */
export function time(text: string): string {
  const ago = /^(\d{1,9})\s*([smhd])$/.exec(text);
  if (ago) return `${ago[1]}${ago[2]}`;
  const parts =
    /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?) ?(Z|[+-]\d{2}(?::?\d{2})?)?)?$/i.exec(text);
  const [, day = '', clock = '00:00', zone = 'Z'] = parts ?? [];
  const dayIsThere = isIsoTime(`${day}T00:00Z`) && new Date(`${day}T00:00Z`).toISOString().startsWith(day);
  const offset = zone
    .replace(/^([+-]\d{2}):?(\d{2})?$/, (_, hours, minutes = '00') => `${hours}:${minutes}`)
    .toUpperCase();
  const normal = `${day}T${clock}${offset}`;
  if (parts && dayIsThere && isIsoTime(normal)) return normal;
  throw new Error('is not a time. Write it as 2025-10-17T19:30:00Z (UTC without a zone), or 2h for two hours ago');
}

function isIsoTime(text: string): boolean {
  return !Number.isNaN(Date.parse(text));
}

/** The id of an event (`evt_<incarnation>_<outbox id>_<n>`) or of an outbox row. */
export function eventId(text: string): string {
  if (/^(evt_[^_]+_\d{1,18}_\d{1,4}|\d{1,18})$/.test(text)) return text;
  throw new Error(
    'is not the id of an event. Give an id such as evt_…, which "rowhook logs show" prints, ' +
      'or the number of an outbox row',
  );
}
