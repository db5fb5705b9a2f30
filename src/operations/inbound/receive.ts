/** Stores inbound events: each function is one statement, which is a transaction by itself. */
import type pg from 'pg';
import type { InboundSource } from '../../inbound/source.ts';

/** What is stored. */
export interface Arrival {
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
  tenant_id: string;
  id: string;
  event_name: string;
  /** Of a first event that came earlier. Null: it is the one that was given. */
  payload: string | null;
  status: string;
  received_at: Date;
  is_new: boolean;
}

const ANSWER = 'r.id, r.event_name, r.payload::text, r.status, r.received_at, r.is_new';

type ByKey = Stored & { verdict: 'organization' | 'scope' | null; key_id: string | null };

/** Undefined: there is no such key. `organization` null: that of the key. */
export async function receiveByKey(
  client: pg.Pool | pg.ClientBase,
  keyHash: Buffer,
  organization: string | null,
  { address, eventName, payload, headers, keys, hash, hops }: Arrival,
): Promise<ByKey | undefined> {
  const { rows } = await client.query<ByKey>(
    `select r.verdict, r.key_id, r.tenant_id, ${ANSWER}
       from rowhook._receive_by_key($1, $2, $3, $4, $5::json, $6, $7, $8, $9) as r`,
    [keyHash, address, organization ?? 'me', eventName, payload, headers, keys, hash, hops],
  );
  return rows[0];
}

/** For a tenant whose token is verified. */
export async function receiveFor(
  client: pg.Pool | pg.ClientBase,
  tenantId: string,
  { address, eventName, payload, headers, keys, hash, hops }: Arrival,
): Promise<Stored | undefined> {
  const { rows } = await client.query<Stored>(
    `select $1::text as tenant_id, ${ANSWER}
       from rowhook._receive_for($1, $2, $3::json, $4, $5, $6, $7, $8) as r`,
    [tenantId, eventName, payload, headers, keys, hash, address, hops],
  );
  return rows[0];
}

/** Undefined: the source was removed. */
export async function receiveFromSource(
  client: pg.Pool | pg.ClientBase,
  sourceId: string,
  { address, eventName, payload, headers, keys, hash, hops }: Arrival,
): Promise<Stored | undefined> {
  const { rows } = await client.query<Stored>(
    `select r.tenant_id, ${ANSWER}
       from rowhook._receive_from_source($1, $2, $3::json, $4, $5, $6, $7, $8) as r`,
    [sourceId, eventName, payload, headers, keys, hash, address, hops],
  );
  return rows[0];
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
  const { rows } = await client.query<FoundSource>('select * from rowhook._inbound_source($1, $2, $3, $4)', [
    id,
    tenantId,
    name,
    address,
  ]);
  const found = rows[0];
  return found && { ...found, secrets: found.secrets.filter((secret) => secret !== null && secret !== '') };
}

/** A hint for workers that listen. Above half the server's queue is left alone. */
export async function notifyWorkers(client: pg.Pool | pg.ClientBase): Promise<void> {
  await client.query("select pg_notify('rowhook_inbound', '') where pg_notification_queue_usage() < 0.5");
}
