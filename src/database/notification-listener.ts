/**
 * The bell: a connection of its own that LISTENs. A notification is a hint, it may only call `onRing`; the outbox is the truth.
 *
 * A half-open socket raises no event, so pg-listen asks for a sign of life every HEARTBEAT_MS and reconnects when none comes
 * in time: after twice as long at most. Until it hears again, the daemon polls. When it gives up for good ("error"), the daemon
 * starts over.
 */
import pgListen from 'pg-listen';
import { locate } from './connections.ts';

const CHANNEL = 'rowhook';
const HEARTBEAT_MS = 5_000;
const RETRY_MS = 500;

/** What a notification says: nothing in particular, look into the outbox; or lanes are free (daemon/lane-rows.ts). */
export type Ring = '' | 'lanes';

export interface Bell {
  /** False while the connection is lost, as far as that was noticed. */
  readonly hears: boolean;
  close(): Promise<void>;
}

export async function listen(
  databaseUrl: string,
  onRing: (ring: Ring) => void,
  onError: (error: Error) => void,
): Promise<Bell> {
  let closed = false;
  let hears = false;
  const subscriber = pgListen.default(
    {
      application_name: 'rowhook listen',
      ...(await locate(databaseUrl)),
      connectionTimeoutMillis: HEARTBEAT_MS,
      // what makes the heartbeat fail instead of waiting for ever
      query_timeout: HEARTBEAT_MS,
    },
    {
      paranoidChecking: HEARTBEAT_MS,
      retryTimeout: Number.POSITIVE_INFINITY,
      retryInterval: () => {
        // the only way to end its reconnecting, which close() does not: it would keep the process for ever
        if (closed) throw new Error('the listener was closed');
        return RETRY_MS;
      },
      parse: (payload: string) => payload,
    },
  );
  const close = () => {
    closed = true;
    return subscriber.close().catch(() => {});
  };
  subscriber.notifications.on(CHANNEL, (payload) => onRing(payload === 'lanes' ? 'lanes' : ''));
  subscriber.events.on('reconnect', () => {
    if (hears) onRing('');
    hears = false;
  });
  // whatever was missed while it was away; a reconnection that was under way ends in a connection even after close()
  subscriber.events.on('connected', () => {
    if (closed) return void close();
    hears = true;
    onRing('');
  });
  subscriber.events.on('error', onError);
  try {
    await subscriber.connect();
    await subscriber.listenTo(CHANNEL);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    get hears() {
      return hears;
    },
    close,
  };
}
