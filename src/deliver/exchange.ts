/**
 * One request and its response, within bounds. A receiver may send anything, at any pace, forever.
 * undici calls the on… methods. Each exchange has exactly one outcome, no later than its deadline.
 *
 * The status decides when the head of the response is complete, and 2xx when the status line is
 * complete. A later error, or a body that never ends, changes nothing: the receiver has answered,
 * and a retry would only repeat the event. The connection is then closed.
 *
 * A receiver may close an idle connection while a request is being sent. So a request that failed
 * on a reused connection without one byte of an answer is sent again at once on a new connection.
 * Both requests are one attempt with one deadline.
 */
import { channel } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import type { Request } from '../model.ts';
import type { Outcome } from '../outcome.ts';
import { onBehalfOf } from './dns.ts';
import { explain, failed, outcomeOfResponse, type Response } from './outcome.ts';
import { ResponseBody } from './response-body.ts';
import { isUsual, statusProblem, successIn, textOf } from './status-line.ts';
import type { Target } from './target.ts';

/** Limit on the bytes of one response: headers, interim responses, and body with framing. */
export const RESPONSE_BYTES_MAX = 256 * 1024;
/** Limit on the bytes of one response's head. */
const HEAD_BYTES_MAX = 16 * 1024;
/** Limit on interim (1xx) responses before the final one. */
const INTERIM_RESPONSES_MAX = 10;

/** Links a request or socket to its exchange. A WeakMap would slow garbage collection. */
const EXCHANGE = Symbol('exchange');
interface Serving {
  [EXCHANGE]?: Exchange | null;
}

/** Codes of Node and undici for a connection that the receiver closed. */
const CLOSED: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);

// undici reveals the socket of a request only in these channels.
let launching: Exchange | undefined;

channel('undici:request:create').subscribe((message) => {
  if (launching) (message as { request: Serving }).request[EXCHANGE] = launching;
});
channel('undici:client:sendHeaders').subscribe((message) => {
  const { request, socket } = message as { request: Serving; socket: Socket & Serving };
  const exchange = request[EXCHANGE];
  if (!exchange) return;
  const isNew = socket[EXCHANGE] === undefined;
  if (isNew) tap(socket);
  socket[EXCHANGE] = exchange;
  exchange.onSocket(socket, isNew);
});

/**
 * Passes the bytes to the exchange before undici parses them. undici gets no bytes beyond the
 * longest head. Its own limit creates an error with a stack for each further header in the same
 * packet, and one such response took 300 to 600 ms of CPU.
 */
function tap(socket: Socket & Serving): void {
  const read = socket.read.bind(socket);
  socket.read = (size?: number) => {
    const chunk = read(size ?? (Math.min(socket[EXCHANGE]?.room ?? Infinity, socket.readableLength) || undefined));
    if (chunk) socket[EXCHANGE]?.onBytes(chunk);
    return socket.destroyed ? null : chunk;
  };
}

export class Exchange implements Dispatcher.DispatchHandler {
  readonly #request: Request;
  readonly #startedAt = performance.now();
  readonly #target: Target;
  readonly #onEnd: () => void;
  readonly #body = new ResponseBody();
  #freshAgent: (() => Dispatcher) | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #socket: (Socket & Serving) | undefined;
  #isReused = false;
  #remoteIp: string | null = null;
  #bytes = 0;
  /** The response as read so far, until its head ends. A string once it is in several chunks. */
  #unread: Buffer | string = '';
  #head: Omit<Response, 'body'> | undefined;
  #interim = 0;
  #done = false;
  #resolve: (outcome: Outcome) => void = () => {};
  #deadline: NodeJS.Timeout | undefined;

  constructor(request: Request, target: Target, onEnd: () => void) {
    this.#request = request;
    this.#target = target;
    this.#onEnd = onEnd;
  }

  /** `kept` reuses connections. `fresh` is called on use, because agents retire. */
  outcome(kept: Dispatcher, fresh: () => Dispatcher): Promise<Outcome> {
    const { timeoutMs } = this.#request;
    this.#freshAgent = fresh;
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#deadline = setTimeout(() => {
        this.#answered() || this.#end(failed('timeout', `no response within ${timeoutMs} ms`, this.#ms));
        this.#abort();
      }, timeoutMs);
      this.#dispatch(kept);
    });
  }

  #dispatch(agent: Dispatcher): void {
    const { tenantId, method, headers, body } = this.#request;
    const { origin, path } = this.#target;
    launching = this;
    try {
      onBehalfOf(tenantId, () => agent.dispatch({ origin, path, method, headers, body }, this));
    } catch (error) {
      // undici throws on some requests, such as one with a malformed header.
      this.#fail(error as Error);
    } finally {
      launching = undefined;
    }
  }

  onSocket(socket: Socket & Serving, isNew: boolean): void {
    this.#socket = socket;
    this.#isReused = !isNew;
    // A socket that was closed meanwhile has no address any more.
    this.#remoteIp = socket.remoteAddress ?? null;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // The deadline passed while the request was waiting for a connection.
    if (this.#done) this.#abort();
  }

  onResponseStart(_: unknown, status: number, headers: Record<string, string | string[] | undefined>): void {
    if (isUsual(this.#unread, status)) {
      this.#unread = '';
      this.#head = { status, headers: flatten(headers) };
      return;
    }
    const head = textOf(this.#unread).replace(/^[\r\n]+/, '');
    const problem = statusProblem(head, status);
    if (problem) {
      this.#refuse(problem);
    } else if (status >= 200) {
      this.#unread = '';
      this.#head = { status, headers: flatten(headers) };
    } else {
      this.#unread = head.slice(head.indexOf('\r\n\r\n') + 4);
      this.#interim += 1;
      if (this.#interim > INTERIM_RESPONSES_MAX) this.#refuse(`more than ${INTERIM_RESPONSES_MAX} interim responses`);
    }
  }

  onResponseData(_: unknown, chunk: Buffer): void {
    if (!this.#body.add(chunk)) this.#cutShort();
  }

  onResponseEnd(): void {
    this.#answered();
  }

  onResponseError(_: unknown, error: Error): void {
    this.#fail(error);
  }

  /** Limit on bytes for undici's next read. Without a limit once the head is complete. */
  get room(): number {
    return this.#head ? Infinity : HEAD_BYTES_MAX - this.#unread.length;
  }

  onBytes(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > RESPONSE_BYTES_MAX) this.#tooLong(RESPONSE_BYTES_MAX);
    else if (this.#head) return;
    // undici has parsed the longest allowed head and found no end.
    else if (this.#unread.length >= HEAD_BYTES_MAX) this.#tooLong(HEAD_BYTES_MAX);
    else this.#unread = this.#unread.length === 0 ? chunk : `${textOf(this.#unread)}${textOf(chunk)}`;
  }

  get #ms(): number {
    return Math.round(performance.now() - this.#startedAt);
  }

  /** Ends with the outcome of the status, if the status is known. */
  #answered(): boolean {
    const status = this.#head ? undefined : successIn(this.#unread);
    const head = status === undefined ? this.#head : { status, headers: {} };
    if (!head) return false;
    this.#end(outcomeOfResponse({ ...head, body: this.#body.text() }, this.#ms));
    return true;
  }

  /** Ends early: the status is known, and the rest would not be stored. */
  #cutShort(): void {
    this.#answered();
    this.#abort();
  }

  #tooLong(bytes: number): void {
    if (this.#answered()) this.#abort();
    else this.#refuse(`more than ${bytes} bytes without a response in them`);
  }

  #refuse(what: string): void {
    this.#end(failed('protocol_error', `${this.#target.host}: it sent ${what}`, this.#ms));
    this.#abort();
  }

  #fail(error: Error & { code?: string }): void {
    if (this.#done || this.#answered()) return;
    if (this.#isReused && this.#bytes === 0 && CLOSED.has(error.code ?? '')) {
      this.#startAgain();
    } else {
      const peerClosed = !this.#socket || this.#socket.readableEnded || this.#bytes === 0;
      this.#end(explain(error, { host: this.#target.host, peerClosed, durationMs: this.#ms }));
    }
  }

  /** Sends the request again on a new connection. A new connection is never sent again. */
  #startAgain(): void {
    if (this.#socket) this.#socket[EXCHANGE] = null;
    this.#socket = undefined;
    this.#isReused = false;
    this.#dispatch((this.#freshAgent as () => Dispatcher)());
  }

  /** Only the first call has an effect. */
  #end(outcome: Outcome): void {
    if (this.#done) return;
    this.#done = true;
    clearTimeout(this.#deadline);
    if (this.#socket) this.#socket[EXCHANGE] = null;
    this.#onEnd();
    this.#resolve({ ...outcome, remoteIp: this.#remoteIp });
  }

  /** Aborts the request and closes its socket. */
  #abort(): void {
    this.#controller?.abort(new Error('aborted'));
  }
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : (value ?? '')]),
  );
}
