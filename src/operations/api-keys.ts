/** API keys: made, listed, rotated, revoked. A token is returned once, by what makes it. */
import type pg from 'pg';
import { NotFound } from '../shared/user-error.ts';

export interface ApiKey {
  id: string;
  tenant_id: string | null;
  name: string;
  prefix: string;
  scopes: string[];
  allowed_ips: string[] | null;
  created_at: Date;
  expires_at: Date | null;
  revoked_at: Date | null;
  last_used_at: Date | null;
  /** When it was created, with microseconds. */
  created_us: string;
}

const COLUMNS = `
  k.id, k.tenant_id, k.name, k.prefix, k.scopes, k.allowed_ips, k.created_at, k.expires_at, k.revoked_at,
  k.last_used_at, pg_catalog.to_char(k.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_us`;

/** Newest first: of one tenant, or of all. */
export async function listKeys(
  client: pg.ClientBase,
  tenantId: string | undefined,
  limit: number,
  after?: { at: string; id: string },
): Promise<ApiKey[]> {
  const { rows } = await client.query<ApiKey>(
    `select ${COLUMNS}
       from rowhook.api_keys k
      where ($1::text is null or k.tenant_id = $1)
        and ($3::timestamptz is null or (k.created_at, k.id) < ($3, $4::uuid))
      order by k.created_at desc, k.id desc
      limit $2`,
    [tenantId, limit, after?.at, after?.id],
  );
  return rows;
}

export async function findKey(client: pg.ClientBase, id: string): Promise<ApiKey> {
  const { rows } = await client.query<ApiKey>(`select ${COLUMNS} from rowhook.api_keys k where k.id = $1`, [id]);
  const key = rows[0];
  if (key === undefined)
    throw new NotFound(`API key ${id} does not exist. "rowhook api-key list" shows the keys.`, 'API key');
  return key;
}

export interface NewKey {
  name: string;
  scopes: readonly string[];
  allowedIps?: readonly string[] | null | undefined;
  /** As PostgreSQL reads it. */
  expiresAt?: string | null | undefined;
}

export interface MadeKey {
  id: string;
  token: string;
}

/** For members of rowhook_owner. `tenantId` null: a key of the operator. */
export async function makeKey(client: pg.ClientBase, tenantId: string | null, key: NewKey): Promise<MadeKey> {
  const { rows } = await client.query<MadeKey>('select id, token from rowhook._insert_api_key($1, $2, $3, $4, $5)', [
    key.name,
    key.scopes,
    tenantId,
    key.allowedIps,
    key.expiresAt,
  ]);
  return rows[0] as MadeKey;
}

/** What the maker of a key has: nobody gives more. */
export interface Giver {
  scopes: readonly string[];
  allowedIps: readonly string[] | null;
  expiresAt: Date | null;
}

/** For a tenant, within what `giver` has. */
export async function makeKeyWithin(client: pg.ClientBase, giver: Giver, key: NewKey): Promise<MadeKey> {
  const { rows } = await client.query<MadeKey>(
    'select id, token from rowhook._create_api_key_own($1, $2, $3, $4, $5, $6, $7)',
    [key.name, key.scopes, key.allowedIps, key.expiresAt, giver.scopes, giver.allowedIps, giver.expiresAt],
  );
  return rows[0] as MadeKey;
}

const ALL_SCOPES = ['read', 'write', 'inbound', 'keys', 'operator'];

/** Resolves to the new token. The old one ends after the overlap. */
export async function rotateKey(client: pg.ClientBase, id: string, overlap: string): Promise<string> {
  const { rows } = await client.query<{ token: string }>(
    'select rowhook._rotate_api_key($1, $2::interval, null, $3, null, null) as token',
    [id, overlap, ALL_SCOPES],
  );
  return rows[0]?.token as string;
}

/** For a tenant. A key that may do more than `giver` is refused. */
export async function rotateKeyWithin(
  client: pg.ClientBase,
  { scopes, allowedIps, expiresAt }: Giver,
  id: string,
  overlap: string,
): Promise<string> {
  const { rows } = await client.query<{ token: string }>(
    'select rowhook._rotate_api_key_own($1, $2::interval, $3, $4, $5) as token',
    [id, overlap, scopes, allowedIps, expiresAt],
  );
  return rows[0]?.token as string;
}

/** Ends a key at once. With `own`, only a key of the tenant. */
export async function revokeKey(client: pg.ClientBase, id: string, own = false): Promise<void> {
  const call = own ? 'rowhook._revoke_api_key_own($1)' : 'rowhook._revoke_api_key($1, null)';
  const { rows } = await client.query<{ found: boolean }>(`select ${call} as found`, [id]);
  if (rows[0]?.found !== true) {
    throw new NotFound(`API key ${id} does not exist. "rowhook api-key list" shows the keys.`, 'API key');
  }
}
