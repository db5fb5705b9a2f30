/**
 * The demo's receiver works as a careful endpoint should. It verifies the raw body, answers, and
 * only then reads the content.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type SignatureCheck, type SigningKey, signingKey, verify } from '../payload/signature.ts';
import { boundedServer } from '../shared/bounded-server.ts';

/** One request, verified or not. */
export interface Arrival {
  /** Milliseconds since 1970 when the body was complete. */
  at: number;
  /** The event's id, from webhook-id. */
  id: string;
  event: string;
  /** How often this event has arrived, including this time. */
  time: number;
  standard: SignatureCheck;
  hex: SignatureCheck;
  answered: number;
  body: string;
}

export interface DemoReceiver {
  readonly url: string;
  readonly arrivals: readonly Arrival[];
  trust(secret: string): void;
  /** Answers 500 to the next event of this type, once. */
  refuseNext(event: string): void;
  close(): Promise<void>;
}

/** Limit on arrivals kept in memory, for a demo that runs for days. */
const ARRIVALS_MAX = 10_000;

export async function startDemoReceiver(onArrival: (arrival: Arrival) => void): Promise<DemoReceiver> {
  const arrivals: Arrival[] = [];
  const times = new Map<string, number>();
  const keys: SigningKey[] = [];
  let refused: string | undefined;

  const receive = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const at = Date.now();
    const body = Buffer.concat(chunks);
    const header = (name: string) => String(request.headers[name] ?? '');
    const signed = {
      id: header('webhook-id'),
      timestamp: header('webhook-timestamp'),
      signature: header('webhook-signature'),
      hexSignature: header('x-webhook-signature'),
      body,
    };
    const event = header('x-webhook-event');
    const verdicts = verify(keys, signed, at / 1000);
    const isRefused = event === refused;
    if (isRefused) refused = undefined;
    const isValid = verdicts.standard === 'valid' && verdicts.hex === 'valid';
    const answered = isRefused ? 500 : isValid ? 204 : 401;
    response.writeHead(answered).end();

    const time = (times.get(signed.id) ?? 0) + 1;
    times.set(signed.id, time);
    if (times.size > ARRIVALS_MAX) times.delete(times.keys().next().value as string);
    const arrival = { at, id: signed.id, event, time, ...verdicts, answered, body: body.toString('utf8') };
    arrivals.push(arrival);
    if (arrivals.length > ARRIVALS_MAX) arrivals.shift();
    onArrival(arrival);
  };

  const server = boundedServer({ connectionsMax: 100, requestMsMax: 30_000 }, (request, response) => {
    // The sender stopped before its body was complete. webhook_logs will show that.
    receive(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((listening, failed) => {
    server.once('error', failed).listen(0, '127.0.0.1', listening);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    arrivals,
    trust: (secret) => void keys.push(signingKey(secret)),
    refuseNext: (event) => {
      refused = event;
    },
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}
