/**
 * A separate connection that LISTENs. A notification is a hint and only calls `onRing`. The outbox
 * is the truth.
 *
 * A half-open socket raises no event. So pg-listen checks the connection every HEARTBEAT_MS, and
 * reconnects if no answer comes in time, at most twice as long after the break. Until it is
 * connected again, the daemon polls. If it gives up for good ("error"), the daemon starts over.
 *
 * The server has one queue of notifications. A session that listens and stays in an open transaction, or
 * whose client reads nothing, keeps all later notifications in it, of all databases. When the queue
 * is full, every transaction that has called NOTIFY fails at COMMIT.
 */
import pgListen from 'pg-listen';
import { locate } from './connections.ts';

const CHANNEL = 'rowhook';
const HEARTBEAT_MS = 5_000;
const RETRY_MS = 500;

/**
 * A notification's payload. Empty: read the outbox. 'lanes': lanes are free (daemon/lane-rows.ts).
 */
export type Ring = '' | 'lanes';

export interface Bell {
  /** False once the connection is known to be lost. */
  readonly hears: boolean;
  close(): Promise<void>;
}

/**
 * Above the first share nobody rings: daemons stay awake and poll. Below the second one, rings are
 * used again. sql/migrations/ has the first share too.
 */
export const QUEUE_USAGE_MAX = 0.5;
export const QUEUE_USAGE_CALM = 0.25;

/** Whether a statement failed because its NOTIFY found no room. Nothing was written. */
export function isQueueFull(error: unknown): boolean {
  const { code, routine } = error as { code?: string; routine?: string };
  return code === '54000' && routine === 'PreCommit_Notify';
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
      // With this limit the heartbeat fails instead of waiting forever.
      query_timeout: HEARTBEAT_MS,
    },
    {
      paranoidChecking: HEARTBEAT_MS,
      retryTimeout: Number.POSITIVE_INFINITY,
      retryInterval: () => {
        // Only a throw here ends the reconnecting. close() does not end it, so the process would
        // never exit.
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
  // Notifications were missed during the break. A reconnection in progress may also end in a
  // connection after close().
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
