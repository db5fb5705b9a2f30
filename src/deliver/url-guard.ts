/**
 * Checks a webhook's URL by its text: scheme, encryption, port, and an address in place of a name.
 * deliver/address-guard.ts checks the addresses of a name when they are dialled.
 */
import { type CompiledPolicy, literalProblem, rangeToOpen } from './address-guard.ts';

/**
 * Ports that no webhook may use, as in browsers (WHATWG Fetch). A service behind such a port could
 * mistake an HTTP request for its own protocol.
 */
const PORTS = `
  0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113
  115 117 119 123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554
  556 563 587 601 636 989 990 993 995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665
  6666 6667 6668 6669 6679 6697 10080`;

/** Port numbers as text, as in URL.port. */
const blockedPorts = new Set(PORTS.trim().split(/\s+/));

/** Longer than any receiver needs, and short enough for a log line. */
const urlLengthMax = 2_048;

/** Why a webhook cannot use a URL. Quotes only scheme, host and port: paths hold secrets. */
export function urlProblem(text: string, policy: CompiledPolicy, allowedIps?: readonly string[]): string | undefined {
  return refusalOfUrl(text, policy, allowedIps)?.error;
}

/** Why no request is sent to a URL. */
export interface Refused {
  code: 'address_refused' | 'http_refused';
  error: string;
}

/**
 * If an operator has to allow both http: and the address, the error names both settings. Otherwise
 * the second refusal would only come after the first setting was changed.
 */
export function refusalOfUrl(
  text: string,
  policy: CompiledPolicy,
  allowedIps?: readonly string[],
): Refused | undefined {
  const place = placeProblem(text, policy, allowedIps);
  const http = httpProblem(text, policy);
  const host = URL.parse(text)?.hostname ?? '';
  if (place !== undefined) {
    const isOpenable = rangeToOpen(host, policy) !== undefined && place === literalProblem(host, policy, allowedIps);
    const also = ' The URL is http:, so also set ROWHOOK_ALLOW_HTTP=true.';
    return { code: 'address_refused', error: http !== undefined && isOpenable ? place + also : place };
  }
  if (http === undefined) return undefined;
  // The address of a name is checked when it is dialled. That of localhost is known.
  const isLocal = /^(.+\.)?localhost$/.test(host) && rangeToOpen('127.0.0.1', policy) !== undefined;
  const also = ' Also add 127.0.0.0/8,::1/128 to ROWHOOK_ALLOW_CIDRS.';
  return { code: 'http_refused', error: isLocal ? http + also : http };
}

/** Why a URL may not be used without encryption, or undefined. */
export function httpProblem(text: string, { allowHttp }: CompiledPolicy): string | undefined {
  const url = URL.parse(text);
  if (allowHttp || url?.protocol !== 'http:') return undefined;
  const remedy = 'Use https:, or start the daemon with --allow-http (ROWHOOK_ALLOW_HTTP=true).';
  return `"http://${url.host}" is refused, because it is not encrypted. ${remedy}`;
}

/** All checks of a URL except its encryption. */
export function placeProblem(text: string, policy: CompiledPolicy, allowedIps?: readonly string[]): string | undefined {
  if (text.length > urlLengthMax) return `The URL is longer than ${urlLengthMax} characters. Shorten it.`;
  const url = URL.parse(text);
  if (url === null) return 'The URL is not valid. Write it as https://host/path.';
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    return `The scheme "${url.protocol}" is refused. Use https:.`;
  if (url.username !== '' || url.password !== '') {
    return 'The URL contains a user name or a password. Remove them, and use auth_type "basic".';
  }
  if (blockedPorts.has(url.port))
    return `Port ${url.port} is refused, because browsers block it too. Use another port, such as 443.`;
  return literalProblem(url.hostname, policy, allowedIps);
}
