/** Attempts as they happen: server-sent events through fetch, as EventSource sends no token. */
import { useEffect, useRef, useState } from 'react';
import { useOrganization } from '../layout/organization.ts';
import { authorization } from './http.ts';
import type { LiveAttempt } from './types.ts';

/** Rows that are kept. A page with more of them would slow down, and nobody reads them. */
const KEPT_MAX = 100;
/** The page is drawn this often at most, however many attempts there are. */
const DRAW_EVERY_MS = 250;
const RETRY_MS = 3_000;
/** A message that is longer is broken. */
const PENDING_MAX = 1_000_000;

export interface Live {
  /** Newest first. */
  attempts: readonly LiveAttempt[];
  state: 'connecting' | 'open' | 'lost';
  /** How many the server left out, because there were too many in a second. */
  skipped: number;
}

const NOTHING: Live = { attempts: [], state: 'connecting', skipped: 0 };

export function useStream(webhook: string, isOn: boolean): Live {
  const { api } = useOrganization();
  const path = `/api${api('/stream')}`;
  const [live, setLive] = useState(NOTHING);
  const kept = useRef<LiveAttempt[]>([]);

  useEffect(() => {
    if (!isOn) return;
    kept.current = [];
    setLive(NOTHING);
    const aborted = new AbortController();
    let skipped = 0;
    let drawing: ReturnType<typeof setTimeout> | undefined;
    const draw = () => {
      drawing ??= setTimeout(() => {
        drawing = undefined;
        setLive({ attempts: kept.current, state: 'open', skipped });
      }, DRAW_EVERY_MS);
    };
    const take = (event: string, data: string) => {
      if (event === 'skipped') skipped += Number(JSON.parse(data).skipped);
      if (event !== 'attempt') return;
      const attempt = JSON.parse(data) as LiveAttempt;
      if (attempt.webhook_id !== webhook) return;
      kept.current = [attempt, ...kept.current.filter(({ id }) => id !== attempt.id)].slice(0, KEPT_MAX);
      draw();
    };
    void follow(path, aborted.signal, take, (state) => setLive((before) => ({ ...before, state })));
    return () => {
      aborted.abort();
      clearTimeout(drawing);
    };
  }, [path, webhook, isOn]);
  return live;
}

/** Reads until it is aborted. A stream that ends is opened again where it ended. */
async function follow(
  path: string,
  signal: AbortSignal,
  take: (event: string, data: string) => void,
  tell: (state: Live['state']) => void,
): Promise<void> {
  let last = '';
  while (!signal.aborted) {
    try {
      const headers = { ...authorization(), ...(last !== '' && { 'last-event-id': last }) };
      const response = await fetch(path, { headers, signal });
      if (!response.ok || response.body === null) throw new Error(`The stream answered ${response.status}.`);
      tell('open');
      for await (const message of messagesOf(response.body)) {
        if (message.id !== '') last = message.id;
        take(message.event, message.data);
      }
    } catch {
      // It is opened again below.
    }
    if (signal.aborted) return;
    tell('lost');
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
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
    for (const block of blocks) {
      const message: Message = { id: '', event: 'message', data: '' };
      for (const line of block.split('\n')) {
        const at = line.indexOf(': ');
        const [field, text] = [line.slice(0, at), line.slice(at + 2)];
        if (field === 'id' || field === 'event' || field === 'data') message[field] = text;
      }
      yield message;
    }
  }
}
