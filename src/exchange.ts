/**
 * One request and what comes back, within bounds: a receiver is a stranger, and may send anything, at any pace, for ever.
 * undici calls the on… methods; exactly one outcome comes of it, by the deadline at the latest.
 */
import { channel } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import type { Outcome, Request } from './model.ts';
import { explain, failed, judge, type Response } from './outcome.ts';
import { ResponseBody } from './response-body.ts';
import type { Target } from './target.ts';

/** All that one response may put on the wire: headers, interim responses, body with its framing. */
const RESPONSE_BYTES_MAX = 256 * 1024;
/** Interim (1xx) responses before the real one. */
const INTERIM_RESPONSES_MAX = 10;

/** Of a request of undici, and of a socket: the exchange that it serves now. A WeakMap would cost each collection of garbage. */
const EXCHANGE = Symbol('exchange');
interface Serving {
  [EXCHANGE]?: Exchange | null;
}

// undici tells the socket of a request nowhere else.
let launching: Exchange | undefined;

channel('undici:request:create').subscribe((message) => {
  if (launching) (message as { request: Serving }).request[EXCHANGE] = launching;
});
channel('undici:client:sendHeaders').subscribe((message) => {
  const { request, socket } = message as { request: Serving; socket: Socket & Serving };
  const exchange = request[EXCHANGE];
  if (!exchange) return;
  if (socket[EXCHANGE] === undefined) socket.on('readable', () => socket[EXCHANGE]?.checkBytes());
  socket[EXCHANGE] = exchange;
  exchange.onSocket(socket);
});

export class Exchange implements Dispatcher.DispatchHandler {
  readonly #request: Request;
  readonly #startedAt = performance.now();
  readonly #target: Target;
  readonly #onEnd: () => void;
  readonly #body = new ResponseBody();
  #controller: Dispatcher.DispatchController | undefined;
  #socket: (Socket & Serving) | undefined;
  #remoteIp: string | null = null;
  #bytesBefore = 0;
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

  outcome(agent: Dispatcher): Promise<Outcome> {
    const { method, headers, body, timeoutMs } = this.#request;
    const { origin, path } = this.#target;
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#deadline = setTimeout(() => {
        const stage = this.#head ? 'the response did not end' : 'no response';
        this.#end(failed('timeout', `${stage} within ${timeoutMs} ms`, this.#ms, this.#response));
        this.#abort();
      }, timeoutMs);
      launching = this;
      try {
        agent.dispatch({ origin, path, method, headers, body }, this);
      } catch (error) {
        // undici refuses some requests by throwing, such as a malformed header
        this.#fail(error as Error);
      } finally {
        launching = undefined;
      }
    });
  }

  onSocket(socket: Socket & Serving): void {
    this.#socket = socket;
    this.#bytesBefore = socket.bytesRead;
    // a socket that was closed meanwhile has forgotten it
    this.#remoteIp = socket.remoteAddress ?? null;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // the deadline passed while it was waiting for its connection
    if (this.#done) this.#abort();
  }

  onResponseStart(_: unknown, status: number, headers: Record<string, string | string[] | undefined>): void {
    if (status >= 200) this.#head = { status, headers: flatten(headers) };
    else if (++this.#interim > INTERIM_RESPONSES_MAX)
      this.#refuse(`more than ${INTERIM_RESPONSES_MAX} interim responses`);
  }

  onResponseData(_: unknown, chunk: Buffer): void {
    if (!this.#body.add(chunk)) this.#cutShort();
  }

  onResponseEnd(): void {
    if (this.#head) this.#end(judge(this.#response as Response, this.#ms));
  }

  onResponseError(_: unknown, error: Error): void {
    this.#fail(error);
  }

  checkBytes(): void {
    if (!this.#socket || this.#socket.bytesRead - this.#bytesBefore <= RESPONSE_BYTES_MAX) return;
    if (this.#head) this.#cutShort();
    else this.#refuse(`more than ${RESPONSE_BYTES_MAX} bytes without a response in them`);
  }

  get #ms(): number {
    return Math.round(performance.now() - this.#startedAt);
  }

  get #response(): Response | null {
    return this.#head ? { ...this.#head, body: this.#body.text() } : null;
  }

  /** The status is known, and the rest would not be kept. */
  #cutShort(): void {
    this.onResponseEnd();
    this.#abort();
  }

  #refuse(what: string): void {
    this.#end(failed('protocol_error', `${this.#target.host}: it sent ${what}`, this.#ms));
    this.#abort();
  }

  #fail(error: Error): void {
    if (this.#done) return;
    const socket = this.#socket;
    const peerClosed = !socket || socket.readableEnded || socket.bytesRead === this.#bytesBefore;
    this.#end(explain(error, { host: this.#target.host, response: this.#response, peerClosed, durationMs: this.#ms }));
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
