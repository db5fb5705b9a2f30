/**
 * Checks which addresses a webhook may reach. Tenants choose the URLs, and the daemon runs inside a
 * private network. So the daemon dials only public unicast addresses, unless the operator opens a
 * range.
 *
 * The check runs at dial time, in the socket's own lookup, on every address of a name. The checked
 * address is the dialled address, so DNS rebinding cannot change it in between.
 */
import { isIP, type LookupFunction } from 'node:net';
import { networkInterfaces } from 'node:os';
import ipaddr from 'ipaddr.js';
import { type Resolve, systemResolve } from './dns.ts';
import { specialRanges } from './special-ranges.ts';

export type { Resolve };

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Network = [address: Address, prefixBits: number];

const special = specialRanges.map((range) => ({ ...range, network: network(range.cidr) }));
const isatap = { cidr: '::5efe:0:0/32', name: 'ISATAP', closed: true };
const nat64 = network('64:ff9b::/96');

export interface AddressPolicy {
  allowHttp: boolean;
  /** `allowCidrs` opens ranges. `denyCidrs` closes ranges and wins over `allowCidrs`. */
  allowCidrs: readonly string[];
  denyCidrs: readonly string[];
}

export interface CompiledPolicy {
  readonly allowHttp: boolean;
  readonly allow: readonly Network[];
  readonly deny: readonly Network[];
  /** Addresses that are refused at the port of the current connection, see `closedAt`. */
  readonly closed: readonly Network[];
}

/** Where a service of ours listens, such as the database. No webhook reaches it. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export class AddressRefused extends Error {
  readonly code = 'address_refused';
}

/** Throws on an invalid range. The settings and PostgreSQL's type cidr already refuse those. */
export function compilePolicy({ allowHttp, allowCidrs, denyCidrs }: AddressPolicy): CompiledPolicy {
  return { allowHttp, allow: allowCidrs.map(network), deny: denyCidrs.map(network), closed: [] };
}

/** Why an address is not dialled. `allowedIps` are the webhook's ranges; [] sets no limit. */
export function addressProblem(ip: string, policy: CompiledPolicy, allowedIps?: readonly string[]): string | undefined {
  const refusal = refusalFor(ip, policy, allowedIps);
  return refusal && `${refusal.kind} ${ip} ${refusal.reason} is refused. ${remedyOf(refusal, refusal.opens?.address)}`;
}

/** The same for a URL's host. A name is not checked here but when it is resolved. */
export function literalProblem(host: string, policy: CompiledPolicy, allowedIps?: readonly string[]) {
  const ip = host.startsWith('[') ? host.slice(1, -1) : host;
  return isIP(ip) === 0 ? undefined : addressProblem(ip, policy, allowedIps);
}

/** The range that an operator has to open for a URL's host. Undefined: it is not refused, or no setting opens it. */
export function rangeToOpen(host: string, policy: CompiledPolicy): string | undefined {
  const ip = host.startsWith('[') ? host.slice(1, -1) : host;
  return isIP(ip) === 0 ? undefined : refusalFor(ip, policy)?.opens?.range;
}

/**
 * The `lookup` of `net.connect` and `tls.connect`. One refused address refuses the whole name. Node
 * does not call it for literal hosts, so a connector calls `literalProblem` too. The message names
 * the range, not the address: tenants read it and must not learn internal addresses.
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
      // For an empty answer, Node's own code throws where nobody can catch it.
      if (!first) callback(Object.assign(new Error(`"${hostname}" has no address.`), { code: 'ENOTFOUND' }), []);
      else if (options.all) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}

/**
 * The policy for a connection to `port`. Closes every address that one of `endpoints` has at that
 * port. Resolves their names on each call, because a failover moves them. If an endpoint is on this
 * machine, all addresses of this machine are closed.
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
  // A path is a socket directory of this machine.
  if (host.startsWith('/')) return Promise.resolve(['127.0.0.1']);
  if (isIP(host) !== 0) return Promise.resolve([host]);
  return new Promise((resolved, failed) => {
    resolve(host, { all: true }, (error, addresses) => {
      if (error) failed(error);
      else resolved(addresses.map(({ address }) => address));
    });
  });
}

/** The addresses of this machine. A connection to an unspecified address reaches this machine. */
function here(): Network[] {
  const interfaces = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const own = interfaces.map(({ address }) => address.replace(/%.*/, ''));
  return ['127.0.0.0/8', '::1', '0.0.0.0/8', '::', ...own].map(network);
}

interface Refusal {
  readonly kind: string;
  readonly reason: string;
  readonly remedy: string;
  /** An operator can open the single address, or the range that contains it. */
  readonly opens?: { address: string; range: string };
}

function remedyOf({ remedy }: Refusal, cidr: string | undefined): string {
  return cidr === undefined ? remedy : `An operator can open it: add ${cidr} to ROWHOOK_ALLOW_CIDRS.`;
}

const FOR_GOOD = 'No setting opens it. Give the webhook another URL.';

function refusalFor(ip: string, policy: CompiledPolicy, allowedIps: readonly string[] = []): Refusal | undefined {
  if (isIP(ip) === 0 || ip.includes('%')) {
    return {
      kind: 'malformed address',
      reason: '(not a plain IP address)',
      remedy: 'Use a public address without a zone.',
    };
  }
  // A connection to an IPv4-mapped address reaches the IPv4 host, so that host is checked.
  const address = ipaddr.process(ip);
  const inside = (range: Network) => holds(range, address);

  if (policy.closed.some(inside)) {
    return { kind: 'closed address', reason: '(a service of rowhook itself)', remedy: FOR_GOOD };
  }
  if (policy.deny.some(inside)) {
    return {
      kind: 'denied address',
      reason: '(ROWHOOK_DENY_CIDRS)',
      remedy: 'Use another address, or ask an operator.',
    };
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
  // A gateway forwards a NAT64 address to the IPv4 host in its last four bytes: check that too.
  const carried = holds(nat64, address) ? refusalFor(lastFourBytes(address), { ...policy, allow: [] }) : undefined;
  return carried && { kind: carried.kind, reason: carried.reason, remedy: FOR_GOOD };
}

const networksByList = new WeakMap<readonly string[], readonly Network[]>();

/** Caches the parsed ranges of a webhook, because each of its deliveries needs them. */
function networksOf(cidrs: readonly string[]): readonly Network[] {
  let networks = networksByList.get(cidrs);
  if (!networks) {
    networks = cidrs.map(network);
    networksByList.set(cidrs, networks);
  }
  return networks;
}

/** ISATAP is not a range: any prefix may precede interface id 0000:5efe or 0200:5efe. */
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

/** Parses a CIDR range or one address. IPv4-mapped ranges become IPv4 ranges. */
function network(cidr: string): Network {
  const [ip = '', prefix, ...rest] = String(cidr).split('/');
  const widthBits = isIP(ip) === 4 ? 32 : 128;
  const prefixBits = Number(prefix ?? widthBits);
  if (isIP(ip) === 0 || ip.includes('%') || rest.length > 0 || !/^\d+$/.test(prefix ?? '0') || prefixBits > widthBits) {
    throw new Error(`"${cidr}" is not an address range. Write it as 10.20.0.0/16 or fd00:1::/64.`);
  }
  const address = ipaddr.process(ip);
  return [address, address.kind() === 'ipv4' && widthBits === 128 ? Math.max(prefixBits - 96, 0) : prefixBits];
}
