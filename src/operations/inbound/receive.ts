/** Stores inbound events, many by one statement, which is a transaction by itself. */
import type pg from 'pg';
import type { InboundSource } from '../../inbound/source.ts';

/** Who sends: whoever has this token, a tenant whose token is verified, or a source whose signature is. */
export type Sender =
  /** `organization` null: that of the token. */
  | { by: 'token'; hash: Buffer; organization: string | null }
  | { by: 'tenant'; tenantId: string }
  | { by: 'source'; sourceId: string };

/** What is stored. */
export interface Arrival {
  sender: Sender;
  eventName: string;
  /** JSON text, as it came. */
  payload: string;
  headers: Record<string, string>;
  /** Known by any of these, it is stored once. */
  keys: readonly string[];
  hash: Buffer;
  hops: number;
  address: string;
}

export interface Stored {
  verdict: null;
  key_id: string | null;
  tenant_id: string;
  id: string;
  event_name: string;
  /** Of a first event that came earlier. Null: it is the one that was given. */
  payload: string | null;
  status: string;
  received_at: Date;
  is_new: boolean;
}

/** unknown: there is no such token, or the source was removed. */
export interface Refused {
  verdict: 'unknown' | 'organization' | 'scope';
  key_id: string | null;
}

/** An answer for each arrival. No two of them may have a key in common. */
export async function receive(
  client: pg.Pool | pg.ClientBase,
  arrivals: readonly Arrival[],
): Promise<(Stored | Refused)[]> {
  const senders = new Map<string, { sender: Sender; address: string; place: number }>();
  const places = arrivals.map(({ sender, address }) => {
    const name = `${nameOf(sender)} ${address}`;
    const known = senders.get(name) ?? { sender, address, place: senders.size + 1 };
    senders.set(name, known);
    return known.place;
  });
  const distinct = [...senders.values()];
  const of = <T>(pick: (sender: Sender) => T) => distinct.map(({ sender }) => pick(sender));
  const { rows } = await client.query<Stored | Refused>({
    name: 'rowhook_receive',
    text: `select r.verdict, r.key_id, r.tenant_id, r.id, r.event_name, r.payload::text, r.status, r.received_at, r.is_new
       from rowhook._receive($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) as r`,
    values: [
      of((one) => (one.by === 'token' ? one.hash : null)),
      of((one) => (one.by === 'token' ? (one.organization ?? 'me') : null)),
      of((one) => (one.by === 'tenant' ? one.tenantId : null)),
      of((one) => (one.by === 'source' ? one.sourceId : null)),
      distinct.map(({ address }) => address),
      places,
      arrivals.map(({ eventName }) => eventName),
      arrivals.map(({ payload }) => payload),
      arrivals.map(({ headers }) => headers),
      arrivals.map(({ hash }) => hash),
      arrivals.map(({ hops }) => hops),
      arrivals.flatMap(({ keys }) => keys),
      arrivals.flatMap(({ keys }, at) => keys.map(() => at + 1)),
    ],
  });
  return rows;
}

function nameOf(sender: Sender): string {
  if (sender.by === 'tenant') return `tenant ${sender.tenantId}`;
  if (sender.by === 'source') return `source ${sender.sourceId}`;
  const { hash, organization } = sender;
  return `token ${hash.toString('base64')} ${JSON.stringify(organization)}`;
}

export interface FoundSource extends InboundSource {
  is_removed: boolean;
  is_allowed: boolean;
}

/** By its id, or by its tenant and name. Undefined: there is no such source. */
export async function findSource(
  client: pg.Pool | pg.ClientBase,
  named: { id: string } | { tenantId: string; name: string },
  address: string,
): Promise<FoundSource | undefined> {
  const [id, tenantId, name] = 'id' in named ? [named.id, null, null] : [null, named.tenantId, named.name];
  const { rows } = await client.query<FoundSource>({
    name: 'rowhook_find_source',
    text: 'select * from rowhook._inbound_source($1, $2, $3, $4)',
    values: [id, tenantId, name, address],
  });
  const found = rows[0];
  return found && { ...found, secrets: found.secrets.filter((secret) => secret !== null && secret !== '') };
}

/** A hint for workers that listen. Above half the server's queue is left alone. */
export async function notifyWorkers(client: pg.Pool | pg.ClientBase): Promise<void> {
  await client.query("select pg_notify('rowhook_inbound', '') where pg_notification_queue_usage() < 0.5");
}
