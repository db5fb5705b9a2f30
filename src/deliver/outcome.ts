/** Turns a response, or the error in its place, into the outcome of an attempt. Pure. */
import type { Outcome, OutcomeCode } from '../outcome.ts';

export type Response = NonNullable<Outcome['response']>;

/** 2xx is success. Redirects are not followed, because nobody approved their target. */
export function outcomeOfResponse(response: Response, durationMs: number): Outcome {
  const { status } = response;
  const common = { response, remoteIp: null, durationMs };
  if (status >= 200 && status < 300) return { status: 'success', code: 'delivered', error: null, ...common };
  const code: OutcomeCode = status === 410 ? 'gone' : status >= 300 && status < 400 ? 'redirect_refused' : 'http_error';
  const error =
    code === 'redirect_refused'
      ? `the receiver answered ${status}, and redirects are not followed. Put the final address into url`
      : `the receiver answered ${status}`;
  return { status: 'failed', code, error, ...common };
}

export function failed(code: OutcomeCode, error: string, durationMs: number): Outcome {
  return { status: 'failed', code, error, response: null, remoteIp: null, durationMs };
}

/** What is known about the connection when an error occurs. */
export interface Circumstances {
  /** Host and port of the URL. The rest of the URL may hold secrets. */
  host: string;
  /** The receiver closed its side, or no byte arrived from it. */
  peerClosed: boolean;
  durationMs: number;
}

/** Codes of Node, OpenSSL and undici. Message texts are never compared. */
const CODES: Readonly<Record<string, OutcomeCode>> = {
  address_refused: 'address_refused',
  proxy_failed: 'proxy_failed',
  ENOTFOUND: 'dns_failed',
  ECONNREFUSED: 'connection_refused',
  ECONNRESET: 'connection_reset',
  EPIPE: 'connection_reset',
  ETIMEDOUT: 'timeout',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  EPROTO: 'tls_failed',
  // undici's parser fails an assertion on a status below 100.
  ERR_ASSERTION: 'protocol_error',
};

const TLS_CODE = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_|SELF_SIGNED|UNABLE_TO|HOSTNAME_MISMATCH)/;
const PROTOCOL_CODE = /^(HPE_|UND_ERR_(HEADERS|RES|REQ|INVALID|PRX|INFO))/;

interface CodedError extends Error {
  readonly code?: string;
  readonly syscall?: string;
}

export function explain(error: CodedError, { host, peerClosed, durationMs }: Circumstances): Outcome {
  // With several addresses there are several errors. The first one is used.
  const cause: CodedError = error instanceof AggregateError ? (error.errors[0] ?? error) : error;
  const code = codeOf(cause, peerClosed);
  if (code === 'address_refused' || code === 'proxy_failed') return failed(code, cause.message, durationMs);
  const sentence = NO_SOCKETS.has(cause.code ?? '') ? OURS : (SENTENCES[code] ?? SENTENCES.connection_failed);
  return failed(code, `${host}: ${sentence} (${cause.code ?? cause.name})`, durationMs);
}

function codeOf({ code = '', name, syscall }: CodedError, peerClosed: boolean): OutcomeCode {
  const known = CODES[code];
  if (known) return known;
  if (syscall === 'getaddrinfo') return 'dns_failed';
  // undici also uses this code when it closes a socket because the response is not usable, such as
  // 101 Switching Protocols.
  if (code === 'UND_ERR_SOCKET') return peerClosed ? 'connection_reset' : 'protocol_error';
  if (TLS_CODE.test(code)) return 'tls_failed';
  return PROTOCOL_CODE.test(code) || name === 'HTTPParserError' ? 'protocol_error' : 'connection_failed';
}

const SENTENCES: Partial<Record<OutcomeCode, string>> = {
  dns_failed: 'its name cannot be resolved',
  connection_refused: 'it refused the connection',
  connection_reset: 'it closed the connection before it answered',
  connection_failed: 'the connection failed',
  timeout: 'it did not answer in time',
  tls_failed: 'its certificate or its TLS version is not accepted',
  protocol_error: 'its response is not valid HTTP/1.1',
};
/** Errors caused by limits of the daemon's machine, not by the receiver. */
const NO_SOCKETS: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS']);
const OURS = 'no request was sent, because rowhook itself has no socket left';
