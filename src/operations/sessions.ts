/**
 * Portal links and sessions. Tokens are generated here, and the database gets their hashes. Returns
 * values only.
 */
import { hash, randomBytes } from 'node:crypto';
import type pg from 'pg';

/** A link can be opened for this long, and a session lasts this long at most. */
export const LINK_MINUTES = 5;
export const SESSION_SECONDS_MAX = 86_400;

export interface Token {
  text: string;
  hash: Buffer;
}

export const hashOfToken = (text: string): Buffer => hash('sha256', text, 'buffer');

/** `rhl_` for a portal link, `rhs_` for a session. 32 random bytes. */
export function newToken(prefix: 'rhl_' | 'rhs_'): Token {
  const text = prefix + randomBytes(32).toString('base64url');
  return { text, hash: hashOfToken(text) };
}

/** The page of the console reads the fragment, which no browser sends to a server. */
export const portalUrl = (base: string, { text }: Token) => `${base}/console/#token=${text}`;

export interface LinkMaker {
  keyId: string | null;
  name: string;
  scopes: readonly string[];
  expiresAt: Date | null;
}

export interface NewLink {
  scopes: readonly string[];
  seconds: number;
}

/** For the tenant of the transaction, within what the maker has. Resolves to the end of the session. */
export async function makePortalLinkWithin(
  client: pg.ClientBase,
  maker: LinkMaker,
  { hash }: Token,
  { scopes, seconds }: NewLink,
): Promise<Date> {
  const { rows } = await client.query<{ at: Date }>(
    'select rowhook._create_portal_link_own($1, $2, $3, $4, $5, $6, $7) as at',
    [maker.keyId, maker.name, hash, scopes, seconds, maker.scopes, maker.expiresAt],
  );
  return rows[0]?.at as Date;
}

/** For members of rowhook_owner. */
export async function makePortalLink(
  client: pg.ClientBase,
  tenantId: string,
  { hash }: Token,
  { scopes, seconds }: NewLink,
): Promise<Date> {
  const { rows } = await client.query<{ at: Date }>(
    `with link as materialized (select now() + make_interval(secs => $4) as at)
     select l.at
       from link as l, rowhook._insert_portal_link($1, null, 'the command line', $2, $3, l.at)`,
    [tenantId, hash, scopes, seconds],
  );
  return rows[0]?.at as Date;
}

/** Resolves to the end of the session, or to null if the key is not valid any more. */
export async function signIn(
  client: pg.ClientBase,
  keyHash: Buffer,
  { hash }: Token,
  seconds: number,
): Promise<Date | null> {
  const { rows } = await client.query<{ at: Date | null }>('select rowhook._sign_in($1, $2, $3) as at', [
    keyHash,
    hash,
    seconds,
  ]);
  return rows[0]?.at ?? null;
}

export async function endSession(client: pg.ClientBase, hash: Buffer): Promise<void> {
  await client.query('select rowhook._end_session($1)', [hash]);
}
