/**
 * Which addresses a webhook may reach. Tenants choose the URLs, the daemon sits inside somebody's network: only public
 * unicast addresses are dialled, unless the operator opens a range.
 *
 * The judgement falls at dial time, inside the socket's own lookup, on every address that a name resolves to. The address
 * that was judged is the address that is dialled, so there is no moment between check and connect for DNS rebinding.
 */
import { isIP, type LookupFunction } from 'node:net';
import { networkInterfaces } from 'node:os';
import ipaddr from 'ipaddr.js';
import { type Resolve, systemResolve } from './dns.ts';
import { specialRanges } from './special-ranges.ts';

export type { Resolve };

/** The WHATWG Fetch standard's list of ports that browsers block: services that an HTTP request could be mistaken for. */
const blockedPorts = new Set(
  `0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 135 137
  139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 995 1719 1720 1723
  2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080`.split(/\s+/),
);

/** More than any receiver asks for, and short enough for a log line. */
const urlLengthMax = 2_048;

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Network = [address: Address, prefixBits: number];

const special = specialRanges.map((range) => ({ ...range, network: network(range.cidr) }));
const isatap = { cidr: '::5efe:0:0/32', name: 'ISATAP', closed: true };
const nat64 = network('64:ff9b::/96');

export interface AddressPolicy {
  allowHttp: boolean;
  /** Ranges that the operator opens, and ranges that stay closed whatever else is said. */
  allowCidrs: readonly string[];
  denyCidrs: readonly string[];
}

export interface CompiledPolicy {
  readonly allowHttp: boolean;
  readonly allow: readonly Network[];
  readonly deny: readonly Network[];
  /** Addresses that are refused at the port that is being dialled, see `closedAt`. */
  readonly closed: readonly Network[];
}

/** Where something of our own listens, such as the database: no webhook gets there, whatever range is open. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** The error of a socket that was never opened. */
export class AddressRefused extends Error {
  readonly code = 'address_refused';
}

/** Throws on a range that is not one; the settings and PostgreSQL's type cidr let none through. */
export function compilePolicy({ allowHttp, allowCidrs, denyCidrs }: AddressPolicy): CompiledPolicy {
  return { allowHttp, allow: allowCidrs.map(network), deny: denyCidrs.map(network), closed: [] };
}

/** Why an address is not dialled, or undefined. `allowedIps` are the webhook's own ranges; none of them is no limit. */
export function addressProblem(ip: string, policy: CompiledPolicy, allowedIps?: readonly string[]): string | undefined {
  const refusal = refusalFor(ip, policy, allowedIps);
  return refusal && `${refusal.kind} ${ip} ${refusal.reason} is refused. ${remedyOf(refusal, refusal.opens?.address)}`;
}

/** The same for a URL's host: a literal, with or without brackets, or a name, which is judged when it is resolved. */
export function literalProblem(host: string, policy: CompiledPolicy, allowedIps?: readonly string[]) {
  const ip = host.startsWith('[') ? host.slice(1, -1) : host;
  return isIP(ip) === 0 ? undefined : addressProblem(ip, policy, allowedIps);
}

/** Why a URL cannot be a webhook's, or undefined. Quotes no more of it than scheme, host and port: paths hold secrets. */
export function urlProblem(text: string, policy: CompiledPolicy, allowedIps?: readonly string[]): string | undefined {
  return placeProblem(text, policy, allowedIps) ?? httpProblem(text, policy);
}

/** Why its traffic may not go unencrypted, or undefined. */
export function httpProblem(text: string, { allowHttp }: CompiledPolicy): string | undefined {
  const url = URL.parse(text);
  if (allowHttp || url?.protocol !== 'http:') return undefined;
  return `"http://${url.host}" is refused: it is not encrypted. Use https:, or start the daemon with --allow-http (ROWHOOK_ALLOW_HTTP=true).`;
}

/** Whatever else is wrong with it. */
export function placeProblem(text: string, policy: CompiledPolicy, allowedIps?: readonly string[]): string | undefined {
  if (text.length > urlLengthMax) return `The URL is longer than ${urlLengthMax} characters. Shorten it.`;
  const url = URL.parse(text);
  if (url === null) return 'The URL is not valid. Write it as https://host/path.';
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    return `The scheme "${url.protocol}" is refused. Use https:.`;
  if (url.username !== '' || url.password !== '') {
    return 'The URL holds a user name or a password. Take them out and use auth_type "basic".';
  }
  if (blockedPorts.has(url.port)) return `Port ${url.port} is refused, as browsers do. Use another, such as 443.`;
  return literalProblem(url.hostname, policy, allowedIps);
}

/**
 * The `lookup` of `net.connect` and `tls.connect`: one bad address among good ones refuses the name. Node does not call it
 * for literal hosts, so a connector asks `literalProblem` as well. The refusal names the range and not the address: tenants
 * read it, and need not learn what our resolver knows of the inside.
 */
export function guardedLookup(
  policy: CompiledPolicy,
  allowedIps?: readonly string[],
  resolve: Resolve = systemResolve,
): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, []);
      const refusal = addresses.map(({ address }) => refusalFor(address, policy, allowedIps)).find(Boolean);
      if (refusal) {
        const { kind, reason, opens } = refusal;
        const remedy = remedyOf(refusal, opens?.range);
        return callback(new AddressRefused(`"${hostname}" is refused: ${kind} ${reason}. ${remedy}`), []);
      }
      const [first] = addresses;
      // Node's own code takes the first of an empty answer and throws where nobody can catch it.
      if (!first) callback(Object.assign(new Error(`"${hostname}" has no address.`), { code: 'ENOTFOUND' }), []);
      else if (options.all) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}

/**
 * The policy for a connection to `port`: whatever address one of the endpoints has there is closed. Their names are resolved
 * now, because a failover moves them. An endpoint on this machine is there under every address of this machine.
 */
export async function closedAt(
  port: number,
  endpoints: readonly Endpoint[],
  policy: CompiledPolicy,
  resolve: Resolve = systemResolve,
): Promise<CompiledPolicy> {
  const hosts = endpoints.filter((endpoint) => endpoint.port === port).map(({ host }) => host);
  const addresses = (await Promise.all(hosts.map((host) => addressesOf(host, resolve)))).flat().map(network);
  const isHere = addresses.some((address) => here().some((own) => holds(own, address[0])));
  return { ...policy, closed: isHere ? [...addresses, ...here()] : addresses };
}

function addressesOf(host: string, resolve: Resolve): Promise<string[]> {
  // a socket directory
  if (host.startsWith('/')) return Promise.resolve(['127.0.0.1']);
  if (isIP(host) !== 0) return Promise.resolve([host]);
  return new Promise((resolved, failed) => {
    resolve(host, { all: true }, (error, addresses) => {
      if (error) failed(error);
      else resolved(addresses.map(({ address }) => address));
    });
  });
}

/** The addresses of this machine. To connect to the unspecified address is to connect to oneself. */
function here(): Network[] {
  const interfaces = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const own = interfaces.map(({ address }) => address.replace(/%.*/, ''));
  return ['127.0.0.0/8', '::1', '0.0.0.0/8', '::', ...own].map(network);
}

interface Refusal {
  readonly kind: string;
  readonly reason: string;
  readonly remedy: string;
  /** An operator can open the address alone, or the range that it is in. */
  readonly opens?: { address: string; range: string };
}

function remedyOf({ remedy }: Refusal, cidr: string | undefined): string {
  return cidr === undefined ? remedy : `An operator can open it: add ${cidr} to ROWHOOK_ALLOW_CIDRS.`;
}

const FOR_GOOD = 'No setting opens it: give the webhook another URL.';

function refusalFor(ip: string, policy: CompiledPolicy, allowedIps: readonly string[] = []): Refusal | undefined {
  if (isIP(ip) === 0 || ip.includes('%')) {
    return { kind: 'malformed address', reason: '(no plain IP address)', remedy: 'Use a public one, without a zone.' };
  }
  // What connects to an IPv4-mapped address reaches the IPv4 host itself, so it is judged as that.
  const address = ipaddr.process(ip);
  const inside = (range: Network) => holds(range, address);

  if (policy.closed.some(inside)) {
    return { kind: 'closed address', reason: '(a service of rowhook itself)', remedy: FOR_GOOD };
  }
  if (policy.deny.some(inside)) {
    return { kind: 'denied address', reason: '(ROWHOOK_DENY_CIDRS)', remedy: 'Use another, or ask an operator.' };
  }
  const range = isIsatap(address) ? isatap : special.find(({ network }) => inside(network));
  if (range && (range.closed || !policy.allow.some(inside))) {
    const kind = /^(Private-Use|Unique-Local)/.test(range.name) ? 'private address' : 'special-purpose address';
    const reason = `(${range.cidr}, ${range.name})`;
    const own = `${address}/${address.kind() === 'ipv4' ? 32 : 128}`;
    const opens = range.closed ? undefined : { address: own, range: range.cidr };
    return { kind, reason, remedy: FOR_GOOD, ...(opens && { opens }) };
  }
  if (allowedIps.length > 0 && !networksOf(allowedIps).some(inside)) {
    return {
      kind: 'unlisted address',
      reason: "(outside the webhook's allowed_ips)",
      remedy: 'Add its range to allowed_ips.',
    };
  }
  // A gateway carries a NAT64 address on to the IPv4 host in its last four bytes: opened, it is judged once more as that.
  const carried = holds(nat64, address) ? refusalFor(lastFourBytes(address), { ...policy, allow: [] }) : undefined;
  return carried && { kind: carried.kind, reason: carried.reason, remedy: FOR_GOOD };
}

const networksByList = new WeakMap<readonly string[], readonly Network[]>();

/** The ranges of one webhook, which come by with each of its deliveries. */
function networksOf(cidrs: readonly string[]): readonly Network[] {
  let networks = networksByList.get(cidrs);
  if (!networks) {
    networks = cidrs.map(network);
    networksByList.set(cidrs, networks);
  }
  return networks;
}

/** ISATAP is no range: its mark is the interface id 0000:5efe or 0200:5efe before an IPv4 address, under any prefix. */
function isIsatap(address: Address): boolean {
  const [a = -1, b, c, d] = address.toByteArray().slice(8);
  return (a | 2) === 2 && b === 0 && c === 0x5e && d === 0xfe;
}

function lastFourBytes(address: Address): string {
  return address.toByteArray().slice(-4).join('.');
}

function holds([network, prefixBits]: Network, address: Address): boolean {
  return network.kind() === address.kind() && address.match(network, prefixBits);
}

/** A range as CIDR, or one address. A range of IPv4-mapped addresses is one of IPv4. */
function network(cidr: string): Network {
  const [ip = '', prefix, ...rest] = String(cidr).split('/');
  const widthBits = isIP(ip) === 4 ? 32 : 128;
  const prefixBits = Number(prefix ?? widthBits);
  if (isIP(ip) === 0 || ip.includes('%') || rest.length > 0 || !/^\d+$/.test(prefix ?? '0') || prefixBits > widthBits) {
    throw new Error(`"${cidr}" is no range of addresses. Write it as 10.20.0.0/16 or fd00:1::/64.`);
  }
  const address = ipaddr.process(ip);
  return [address, address.kind() === 'ipv4' && widthBits === 128 ? Math.max(prefixBits - 96, 0) : prefixBits];
}
