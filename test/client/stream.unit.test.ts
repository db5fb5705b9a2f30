// followAttempts() over real connections that end, are refused, and begin again.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { createClient, followAttempts, type LiveAttempt } from '../../src/client/client.ts';

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

interface Seen {
  url: string | undefined;
  authorization: string | undefined;
  last: string | string[] | undefined;
}

/** Each connection gets the next answer: a status, or the text of a stream that ends. */
async function answering(answers: (string | number)[]): Promise<{ baseUrl: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  server = createServer(({ url, headers }, response) => {
    seen.push({ url, authorization: headers.authorization, last: headers['last-event-id'] });
    const answer = answers[seen.length - 1] ?? 503;
    if (typeof answer === 'string') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      return response.end(answer);
    }
    response.writeHead(answer, { 'content-type': 'application/problem+json' });
    return response.end(JSON.stringify({ status: answer, code: 'refused', title: 'No', detail: 'Not here.' }));
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

const attempt = (id: string) => `id: ${id}\nevent: attempt\ndata: {"id":"${id}","webhook_id":"w"}\n\n`;

test('a stream that ends begins again after the last attempt, with the token of that time', async () => {
  const { baseUrl, seen } = await answering([
    `: hello\n\n${attempt('1')}${attempt('2')}event: skipped\ndata: {"skipped":7}\n\n`,
    503,
    attempt('3'),
    403,
  ]);
  const tokens = ['one', 'two', 'three', 'four'];
  const client = createClient({ baseUrl, token: () => tokens[seen.length] ?? null });
  const attempts: LiveAttempt[] = [];
  const said: unknown[] = [];
  const following = followAttempts(client, {
    org: 'a/cme',
    signal: new AbortController().signal,
    retryMs: 1,
    onAttempt: (one) => attempts.push(one),
    onSkipped: (count) => said.push(count),
    onState: (state) => said.push(state),
  });
  await expect(following).rejects.toMatchObject({ status: 403, code: 'refused', message: 'Not here.' });
  expect(attempts.map(({ id }) => id)).toEqual(['1', '2', '3']);
  expect(said).toEqual(['open', 7, 'lost', 'lost', 'open', 'lost']);
  expect(seen.map(({ last }) => last)).toEqual([undefined, '2', '2', '3']);
  expect(seen.map(({ authorization }) => authorization)).toEqual(tokens.map((token) => `Bearer ${token}`));
  expect(seen[0]?.url).toBe('/api/v1/a%2Fcme/stream');
});

test('it ends when it is aborted, also while it waits', async () => {
  const { baseUrl } = await answering([attempt('1')]);
  const aborting = new AbortController();
  await followAttempts(createClient({ baseUrl }), {
    org: 'me',
    signal: aborting.signal,
    retryMs: 600_000,
    onAttempt: () => {},
    onState: (state) => state === 'lost' && aborting.abort(),
  });
  expect(aborting.signal.aborted).toBe(true);
});
