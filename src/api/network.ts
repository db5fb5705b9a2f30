/** Under which name the failures of an address are counted. Pure. */

const GROUPS = 8;

/**
 * An IPv4 address itself. Of IPv6, the network of 64 bits: whoever has one address has the others of
 * it as well, and could fail with each of them.
 */
export function networkOf(address: string): string {
  const ip = address.toLowerCase().replace(/%.*$/, '');
  if (!ip.includes(':')) return ip;
  const ipv4 = /^(?:0*:)*:?ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(ip)?.[1];
  if (ipv4 !== undefined) return ipv4;
  const [head = '', tail] = ip.split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  if (tail !== undefined) {
    const zeros = Math.max(0, GROUPS - groups.length - after.length);
    groups.push(...Array<string>(zeros).fill('0'), ...after);
  }
  const short = groups.slice(0, GROUPS / 2).map((group) => group.replace(/^0+(?=.)/, ''));
  return `${short.join(':')}::/64`;
}
