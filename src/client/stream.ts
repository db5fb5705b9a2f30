/** Attempts as they happen: server-sent events, read with fetch because EventSource sends no token. */
import type { RowhookClient } from './client.ts';
import { answerOf, RowhookError } from './error.ts';
import type { Attempt } from './types.ts';

export interface LiveAttempt extends Attempt {
  webhook_id: string;
}

export interface StreamHandlers {
  onAttempt: (attempt: LiveAttempt) => void;
  /** How many attempts the server left out, because there were more than 50 in a second. */
  onSkipped?: (count: number) => void;
  onState?: (state: 'open' | 'lost') => void;
}

export interface StreamOptions extends StreamHandlers {
  org: string;
  signal: AbortSignal;
  retryMs?: number;
}

const RETRY_MS = 3_000;

/** A message that is longer is broken. */
const PENDING_MAX = 1_000_000;

/**
 * Follows the attempts of an organization until `signal` aborts. A stream that ends is opened again
 * where it ended. What the server refuses (a status from 400 to 499) is thrown.
 */
export async function followAttempts(client: RowhookClient, options: StreamOptions): Promise<void> {
  const { org, signal, onState = () => {}, retryMs = RETRY_MS } = options;
  let last = '';
  while (!signal.aborted) {
    try {
      const body = await openStream(client, org, last, signal);
      onState('open');
      for await (const message of messagesOf(body)) {
        if (message.id !== '') last = message.id;
        pass(message, options);
      }
    } catch (error) {
      if (error instanceof RowhookError && isFinal(error.status)) throw error;
    }
    if (signal.aborted) return;
    onState('lost');
    await pause(retryMs, signal);
  }
}

/** Too many streams is a state that passes. */
const isFinal = (status: number) => status >= 400 && status < 500 && status !== 429;

type Open = (
  path: string,
  options: object,
) => Promise<{ data?: ReadableStream<Uint8Array<ArrayBuffer>>; error?: unknown; response: Response }>;

function openStream(client: RowhookClient, org: string, last: string, signal: AbortSignal) {
  // The document lists no streams, so the path has no type.
  const open = client.GET as unknown as Open;
  const headers = last === '' ? {} : { 'last-event-id': last };
  return answerOf(open('/api/v1/{org}/stream', { params: { path: { org } }, headers, signal, parseAs: 'stream' }));
}

function pass({ event, data }: Message, { onAttempt, onSkipped }: StreamHandlers): void {
  if (event === 'attempt') onAttempt(JSON.parse(data));
  if (event === 'skipped') onSkipped?.(Number(JSON.parse(data).skipped));
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
}

interface Message {
  id: string;
  event: string;
  data: string;
}

async function* messagesOf(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<Message> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    pending += value;
    const blocks = pending.split('\n\n');
    pending = blocks.pop() ?? '';
    if (pending.length > PENDING_MAX) return;
    for (const block of blocks) yield messageOf(block);
  }
}

function messageOf(block: string): Message {
  const message: Message = { id: '', event: 'message', data: '' };
  for (const line of block.split('\n')) {
    const at = line.indexOf(': ');
    const [field, text] = [line.slice(0, at), line.slice(at + 2)];
    if (field === 'id' || field === 'event' || field === 'data') message[field] = text;
  }
  return message;
}
