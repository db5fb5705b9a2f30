/**
 * One request and what comes back, within bounds: a receiver is a stranger, and may send anything, at any pace, for ever.
 * undici calls the on… methods; exactly one outcome comes of it, by the deadline at the latest.
 *
 * The status decides as soon as the head of a response is complete, and 2xx as soon as its status line is. What breaks off, breaks
 * the protocol or does not end behind it changes nothing: the receiver has said what became of the event, and would only get it
 * again. Its connection is closed.
 *
 * A receiver may close an idle connection while a request is on its way to it. So a request that failed on a connection that
 * was used before, and got no byte of an answer, is sent once more at once on a new one, within the same attempt and deadline.
 */
import { channel } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import type { Request } from '../model.ts';
import type { Outcome } from '../outcome.ts';
import { explain, failed, outcomeOfResponse, type Response } from './outcome.ts';
import { ResponseBody } from './response-body.ts';
import { isUsual, statusProblem, successIn, textOf } from './status-line.ts';
import type { Target } from './target.ts';

/** All that one response may put on the wire: headers, interim responses, body with its framing. */
export const RESPONSE_BYTES_MAX = 256 * 1024;
/** Of that, the head of one response. */
const HEAD_BYTES_MAX = 16 * 1024;
/** Interim (1xx) responses before the real one. */
const INTERIM_RESPONSES_MAX = 10;

/** Of a request of undici, and of a socket: the exchange that it serves now. A WeakMap would cost each collection of garbage. */
const EXCHANGE = Symbol('exchange');
interface Serving {
  [EXCHANGE]?: Exchange | null;
}

/** A connection that was closed by the other side, in the codes of Node and undici. */
const CLOSED: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);

// undici tells the socket of a request nowhere else.
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
 * Shows what is read to the exchange before undici parses it, and gives undici nothing of a head that is too long. Its own limit makes an
 * error, with its stack, for each header behind it that came in the same packet: one response took 300 to 600 ms of CPU.
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
  /** The connection had served another request before. */
  #isReused = false;
  #remoteIp: string | null = null;
  #bytes = 0;
  /** What was read of the response up to the end of its head, as text once it came in more than one piece. */
  #unread: Buffer | string = '';
  #head: Omit<Response, 'body'> | undefined;
  #interim = 0;
  #done = false;
  #resolve: (outcome: Outcome) => void = () => {};
  #deadline: NodeJS.Timeout | undefined;

  /** `onEnd` is called when there is an outcome. */
  constructor(request: Request, target: Target, onEnd: () => void) {
    this.#request = request;
    this.#target = target;
    this.#onEnd = onEnd;
  }

  /** `kept` keeps connections; what `fresh` returns makes a new one for each request. It is asked when it is needed, since agents retire. */
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
    const { method, headers, body } = this.#request;
    const { origin, path } = this.#target;
    launching = this;
    try {
      agent.dispatch({ origin, path, method, headers, body }, this);
    } catch (error) {
      // undici refuses some requests by throwing, such as a malformed header
      this.#fail(error as Error);
    } finally {
      launching = undefined;
    }
  }

  onSocket(socket: Socket & Serving, isNew: boolean): void {
    this.#socket = socket;
    this.#isReused = !isNew;
    // a socket that was closed meanwhile has forgotten it
    this.#remoteIp = socket.remoteAddress ?? null;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // the deadline passed while it was waiting for its connection
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

  /** What may be given to undici at once: no more than the longest head, until there is one. */
  get room(): number {
    return this.#head ? Infinity : HEAD_BYTES_MAX - this.#unread.length;
  }

  onBytes(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > RESPONSE_BYTES_MAX) this.#tooLong(RESPONSE_BYTES_MAX);
    else if (this.#head) return;
    // undici has seen as much, and found no head in it
    else if (this.#unread.length >= HEAD_BYTES_MAX) this.#tooLong(HEAD_BYTES_MAX);
    else this.#unread = this.#unread.length === 0 ? chunk : `${textOf(this.#unread)}${textOf(chunk)}`;
  }

  get #ms(): number {
    return Math.round(performance.now() - this.#startedAt);
  }

  /** Ends by the status, if there is one. */
  #answered(): boolean {
    const status = this.#head ? undefined : successIn(this.#unread);
    const head = status === undefined ? this.#head : { status, headers: {} };
    if (!head) return false;
    this.#end(outcomeOfResponse({ ...head, body: this.#body.text() }, this.#ms));
    return true;
  }

  /** The status is known, and the rest would not be kept. */
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

  /** On a new connection, so this happens once. */
  #startAgain(): void {
    if (this.#socket) this.#socket[EXCHANGE] = null;
    this.#socket = undefined;
    this.#isReused = false;
    this.#dispatch((this.#freshAgent as () => Dispatcher)());
  }

  /** The first call counts. */
  #end(outcome: Outcome): void {
    if (this.#done) return;
    this.#done = true;
    clearTimeout(this.#deadline);
    if (this.#socket) this.#socket[EXCHANGE] = null;
    this.#onEnd();
    this.#resolve({ ...outcome, remoteIp: this.#remoteIp });
  }

  /** Ends the request, and its socket with it. */
  #abort(): void {
    this.#controller?.abort(new Error('aborted'));
  }
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : (value ?? '')]),
  );
}
