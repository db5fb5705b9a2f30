/** Inbound sources: made, listed, changed, rotated, removed. A secret is returned once. */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import type { Verification } from '../../inbound/source.ts';
import { NotFound, UserError } from '../../shared/user-error.ts';

/** Limit on the sources of a tenant. */
const SOURCES_MAX = 1_000;

export interface SourceFields {
  name?: string | undefined;
  verification?: Verification | undefined;
  signature_header?: string | null | undefined;
  signature_algorithm?: string | null | undefined;
  signature_encoding?: string | null | undefined;
  event_name?: string | null | undefined;
  event_path?: string | null | undefined;
  event_header?: string | null | undefined;
  allowed_ips?: readonly string[] | null | undefined;
}

export interface Source {
  id: string;
  tenant_id: string;
  name: string;
  verification: Verification;
  signature_header: string | null;
  signature_algorithm: string | null;
  signature_encoding: string | null;
  event_name: string | null;
  event_path: string | null;
  event_header: string | null;
  allowed_ips: string[] | null;
  previous_secret_expires_at: Date | null;
  created_at: Date;
  updated_at: Date;
}

const FIELDS = [
  ...['name', 'verification', 'signature_header', 'signature_algorithm', 'signature_encoding'],
  ...['event_name', 'event_path', 'event_header', 'allowed_ips'],
] as const;

const COLUMNS = `s.id, s.tenant_id, s.name, s.verification, s.signature_header, s.signature_algorithm,
  s.signature_encoding, s.event_name, s.event_path, s.event_header, s.allowed_ips,
  s.previous_secret_expires_at, s.created_at, s.updated_at`;

const unknown = (id: string) =>
  new NotFound(`Inbound source ${id} does not exist. "rowhook inbound source list" shows them.`, 'inbound source');

/** For senders that let one choose. Others show a secret of their own, which is given to rowhook. */
function newSecret(verification: Verification): string {
  const random = randomBytes(32);
  if (verification === 'standard_webhooks') return `whsec_${random.toString('base64')}`;
  return random.toString('hex');
}

export async function createSource(
  client: pg.ClientBase,
  tenantId: string,
  fields: SourceFields & { name: string; verification: Verification },
  givenSecret: string | undefined,
): Promise<{ source: Source; secret: string }> {
  const secret = givenSecret ?? newSecret(fields.verification);
  const given = FIELDS.filter((field) => fields[field] !== undefined);
  const values = [tenantId, secret, ...given.map((field) => fields[field])];
  const { rows } = await client
    .query<Source>(
      `insert into rowhook.inbound_sources as s (tenant_id, secret, ${given.join(', ')})
       select $1::text, $2::text, ${given.map((field, i) => `$${i + 3}::${typeOf(field)}`).join(', ')}
        where (select count(*) from rowhook.inbound_sources o
                where o.tenant_id = $1 and o.deleted_at is null) < ${SOURCES_MAX}
       returning ${COLUMNS}`,
      values,
    )
    .catch(sayTaken);
  const source = rows[0];
  if (source === undefined) throw new UserError(`A tenant has at most ${SOURCES_MAX} inbound sources. Delete others.`);
  return { source, secret };
}

const typeOf = (field: (typeof FIELDS)[number]) => (field === 'allowed_ips' ? 'cidr[]' : 'text');

function sayTaken(error: { code?: string; constraint?: string }): never {
  if (error.code !== '23505') throw error;
  throw new UserError('Another inbound source of this tenant has this name. Choose another name.');
}

/** Newest first: of one tenant, or of all. */
export async function listSources(
  client: pg.ClientBase,
  tenantId: string | undefined,
  limit: number,
  after?: { at: string; id: string },
): Promise<(Source & { created_us: string })[]> {
  const { rows } = await client.query<Source & { created_us: string }>(
    `select ${COLUMNS}, pg_catalog.to_char(s.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_us
       from rowhook.inbound_sources s
      where s.deleted_at is null
        and ($1::text is null or s.tenant_id = $1)
        and ($3::timestamptz is null or (s.created_at, s.id) < ($3, $4::text))
      order by s.created_at desc, s.id desc
      limit $2`,
    [tenantId, limit, after?.at, after?.id],
  );
  return rows;
}

/** Changes what is named. Null clears. */
export async function updateSource(client: pg.ClientBase, id: string, fields: SourceFields): Promise<Source> {
  const given = FIELDS.filter((field) => field !== 'verification' && fields[field] !== undefined);
  const sets = given.map((field, i) => `${field} = $${i + 2}::${typeOf(field)}`);
  const { rows } = await client
    .query<Source>(
      sets.length === 0
        ? `select ${COLUMNS} from rowhook.inbound_sources s where s.id = $1 and s.deleted_at is null`
        : `update rowhook.inbound_sources as s set ${sets.join(', ')}
            where s.id = $1 and s.deleted_at is null returning ${COLUMNS}`,
      [id, ...given.map((field) => fields[field])],
    )
    .catch(sayTaken);
  if (rows[0] === undefined) throw unknown(id);
  return rows[0];
}

/** Resolves to the new secret. The one before is accepted until the overlap ends. */
export async function rotateSource(
  client: pg.ClientBase,
  id: string,
  overlap: string,
  givenSecret: string | undefined,
): Promise<{ source: Source; secret: string }> {
  const { rows: found } = await client.query<{ verification: Verification }>(
    'select s.verification from rowhook.inbound_sources s where s.id = $1 and s.deleted_at is null',
    [id],
  );
  if (found[0] === undefined) throw unknown(id);
  const secret = givenSecret ?? newSecret(found[0].verification);
  const { rows } = await client.query<Source>(
    `update rowhook.inbound_sources as s
        set secret = $2, previous_secret_expires_at = clock_timestamp() + $3::interval
      where s.id = $1 and s.deleted_at is null
     returning ${COLUMNS}`,
    [id, secret, overlap],
  );
  if (rows[0] === undefined) throw unknown(id);
  return { source: rows[0], secret };
}

/** Its address answers 410 from now on. */
export async function removeSource(client: pg.ClientBase, id: string): Promise<void> {
  const { rowCount } = await client.query(
    'update rowhook.inbound_sources set deleted_at = clock_timestamp() where id = $1 and deleted_at is null',
    [id],
  );
  if (rowCount === 0) throw unknown(id);
}
