/**
 * ROWHOOK_PROXY_URL: all requests, http: and https:, go through a tunnel of an HTTP proxy
 * (CONNECT). The proxy resolves names and dials, so the address guard checks only what it can see.
 * It applies all rules to an address in the URL, and checks a name by its text alone. The proxy has
 * to refuse unwanted addresses of a name. The daemon logs this at its start.
 */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type Socket } from 'node:net';
import type { buildConnector } from 'undici';
import { type CompiledPolicy, type Endpoint, literalProblem } from './address-guard.ts';

/** Tenants read this error of a failed tunnel. It names the setting, not the proxy. */
export class ProxyFailed extends Error {
  readonly code = 'proxy_failed';
}

const SUBJECT = 'the outgoing proxy (ROWHOOK_PROXY_URL)';

/**
 * Names inside a network, or of this machine: RFC 6761 (localhost), RFC 6762 (local, and its
 * appendix G), RFC 8375 (home.arpa), ICANN's resolution of 2024 (internal), and services in a
 * Kubernetes cluster (svc).
 */
const INSIDE = /(^|\.)(localhost|localdomain|local|internal|intranet|private|corp|home|lan|home\.arpa|svc)$/;

/**
 * Why a host is not requested through the proxy, or undefined. `endpoints` are our own services at
 * the requested port.
 */
export function hostProblem(
  hostname: string,
  policy: CompiledPolicy,
  allowedIps: readonly string[] | undefined,
  endpoints: readonly Endpoint[],
): string | undefined {
  const isAddress = isIP(hostname.replace(/^\[(.*)\]$/, '$1')) !== 0;
  if (isAddress) return literalProblem(hostname, policy, allowedIps);
  const name = withoutDots(hostname);
  const refused = (why: string) => `"${hostname}" is refused, because ${why}`;
  if (endpoints.some(({ host }) => withoutDots(host) === name))
    return refused('it is a service of rowhook itself. No setting opens it. Give the webhook another URL.');
  if (allowedIps && allowedIps.length > 0)
    return refused(
      `${SUBJECT} resolves names, and allowed_ips cannot be checked. ` +
        'Put an address into url, or remove allowed_ips.',
    );
  if (INSIDE.test(name) || !name.includes('.') || isIP(name) !== 0)
    return refused(
      `${SUBJECT} could resolve it to a private address. ` +
        'Put its address into url, and let an operator add that address to ROWHOOK_ALLOW_CIDRS.',
    );
  return undefined;
}

/** Removes all final dots. A URL may have several, and proxies treat them differently. */
function withoutDots(host: string): string {
  return host.toLowerCase().replace(/\.+$/, '');
}

/** Opens tunnels through the proxy. `secure` starts TLS to the receiver inside the tunnel. */
export function tunnelThrough(
  proxy: string,
  secure: buildConnector.connector,
  timeoutMs: number,
): buildConnector.connector {
  const { protocol, hostname, port, username, password } = new URL(proxy);
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const authorization = `Basic ${Buffer.from(credentials).toString('base64')}`;
  const request = protocol === 'https:' ? httpsRequest : httpRequest;

  return (options, callback) => {
    const isSecure = options.protocol === 'https:';
    const host = isIP(options.hostname) === 6 ? `[${options.hostname}]` : options.hostname;
    const authority = `${host}:${options.port || (isSecure ? 443 : 80)}`;
    let isOver = false;
    const end = (error: Error | null, socket: Socket | null) => {
      if (isOver) return void socket?.destroy();
      isOver = true;
      if (error || !socket) callback(error ?? new ProxyFailed(`${SUBJECT} failed`), null);
      else if (isSecure) secure({ ...options, httpSocket: socket }, callback);
      else callback(null, socket);
    };
    const connect = request({
      host: hostname.replace(/^\[(.*)\]$/, '$1'),
      port: port || undefined,
      method: 'CONNECT',
      path: authority,
      headers: { host: authority, ...(username && { 'proxy-authorization': authorization }) },
      agent: false,
    });
    const timer = setTimeout(() => fail(`did not open a tunnel within ${timeoutMs / 1_000} s`), timeoutMs);
    const fail = (what: string) => {
      clearTimeout(timer);
      end(new ProxyFailed(`${SUBJECT} ${what}`), null);
      connect.destroy();
    };
    connect.on('connect', ({ statusCode = 0 }, socket: Socket, head: Buffer) => {
      clearTimeout(timer);
      const isOpen = statusCode >= 200 && statusCode < 300;
      if (isOpen && head.length === 0) return end(null, socket);
      socket.destroy();
      fail(isOpen ? 'sent data of its own through the tunnel' : refusal(statusCode, authority));
    });
    // Node emits `response` only for an answer that it does not accept as an answer to CONNECT.
    connect.on('response', ({ statusCode = 0 }) => fail(refusal(statusCode, authority)));
    connect.on('error', (error: NodeJS.ErrnoException) => fail(`cannot be used (${error.code ?? error.name})`));
    connect.end();
  };
}

function refusal(statusCode: number, authority: string): string {
  const why = statusCode === 407 ? '. It needs a user and a password, or refuses the given ones' : '';
  return `answered ${statusCode} to CONNECT ${authority}${why}`;
}

const UNUSED = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy'];

/** The daemon's log line about proxies at its start. It never shows credentials of a URL. */
export function proxyNotice(
  proxy: string | undefined,
  env: NodeJS.ProcessEnv,
): { proxy?: string; text: string } | null {
  if (proxy !== undefined) {
    const text =
      'all webhook requests go through ROWHOOK_PROXY_URL. The proxy resolves names, ' +
      'so rowhook checks only the text of a name. ' +
      'The rules for private ranges, ROWHOOK_DENY_CIDRS and allowed_ips apply to addresses in URLs. ' +
      'Let the proxy refuse names of private addresses';
    return { proxy: new URL(proxy).origin, text };
  }
  const found = UNUSED.filter((name) => env[name]);
  if (found.length === 0) return null;
  const names = found.join(', ');
  return {
    text: `${names} is not used. Requests go out directly. To send them through a proxy, set ROWHOOK_PROXY_URL`,
  };
}
