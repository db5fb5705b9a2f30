/**
 * Every request is one transaction. It begins with one statement, which takes the role rowhook_api,
 * finds the key and sets the tenant. From there on row-level security decides what a request sees.
 * A pooler may lend a session for one transaction: nothing stays in it but prepared statements, and
 * these have no names in a session that is lent (database/lent-session.ts).
 */
import type pg from 'pg';
import { isOfStatement } from '../shared/isolate.ts';
import type { Caller, Credential, Scope } from './auth.ts';
import { networkOf } from './network.ts';
import { Problem, toProblem, unauthorized } from './problem.ts';
import type { KnownTokens } from './sessions/known-tokens.ts';
import { type Place, type Turnstile, turnOfNetwork, turnOfTenant } from './turnstile.ts';

export interface Access {
  /** As in the path. Null: the route is of no organization. */
  organization: string | null;
  /** The caller needs one of these. */
  scopes: readonly Scope[];
  readOnly: boolean;
  /** Where the request comes from. */
  address: string;
}

export interface Entered {
  tx: pg.ClientBase;
  caller: Caller;
  /** The organization that the request is about. Null: the route is of no organization. */
  organization: string | null;
}

const BOUNDS = "set local statement_timeout = '10s'; set local lock_timeout = '2s'";

/**
 * Statements of many requests have names: PostgreSQL then plans them once for each connection. A
 * list of webhooks took it 1,930 us of CPU, and takes 650.
 */
const ENTER_BY_KEY = `select pg_catalog.set_config('role', 'rowhook_api', true), a.*
                        from rowhook._authenticate($1, $2, $3, $4) as a`;

const ENTER_BY_LINK = `select pg_catalog.set_config('role', 'rowhook_api', true), l.*
                         from rowhook._open_portal_link($1, $2) as l`;

const ENTER_BY_JWT = `select pg_catalog.set_config('role', 'rowhook_api', true),
                             pg_catalog.set_config('rowhook.tenant_id', $1, true),
                             pg_catalog.set_config('rowhook.actor', $2, true)`;

/** The turn of operators who ask about no organization. */
const OPERATOR_TURN = 'operators';

interface Shared {
  pool: pg.Pool;
  turnstile: Turnstile;
  tokens: KnownTokens;
}

/** What a transaction returns that found its organization to have its share of connections. */
const LATER = Symbol('later');

/** Runs `work` in a transaction of the caller, and commits if it resolves. */
export async function enter<T>(
  shared: Shared,
  credential: Credential,
  access: Access,
  work: (entered: Entered) => Promise<T>,
): Promise<T> {
  for (;;) {
    const place = await passFor(shared, credential, access);
    const result = await inTransaction(shared, access, async (client) => {
      const entered = await identifyKnown(shared, client, credential, access);
      const hasRoom = place.move(turnOf(entered.caller.tenantId, access));
      // A link can be opened once, so it is not looked for again.
      return hasRoom || credential.kind === 'link' ? work(entered) : LATER;
    }).finally(place.leave);
    if (result !== LATER) return result;
  }
}

/** While a request waits in the turn of its network, another one may make its token known. */
async function passFor({ turnstile, tokens }: Shared, credential: Credential, access: Access): Promise<Place> {
  for (;;) {
    const turn = turnOf(tokens.tenantOf(credential), access);
    const place = await turnstile.pass(turn);
    if (turn === turnOf(tokens.tenantOf(credential), access)) return place;
    place.leave();
  }
}

async function inTransaction<T>(
  { pool }: Shared,
  access: Access,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  let client: pg.PoolClient | undefined;
  let failure: Error | undefined;
  try {
    client = await pool.connect();
    await client.query(`begin ${access.readOnly ? 'read only' : 'read write'}; ${BOUNDS}`);
    const result = await work(client);
    await client.query('commit');
    return result;
  } catch (error) {
    // A connection whose transaction cannot be ended, or whose plans are out of date, is thrown away.
    if (isOfStatement(error)) failure = error as Error;
    await client?.query('rollback').catch((broken: Error) => {
      failure = broken;
    });
    throw error;
  } finally {
    client?.release(failure);
  }
}

async function identifyKnown(
  { tokens }: Shared,
  client: pg.ClientBase,
  credential: Credential,
  access: Access,
): Promise<Entered> {
  try {
    const entered = await identify(client, credential, access);
    tokens.note(credential, entered.caller.tenantId);
    return entered;
  } catch (error) {
    if (toProblem(error).status === 401) tokens.forget(credential);
    throw error;
  }
}

/** An operator's request counts for the organization that it is about. */
function turnOf(tenantId: string | null | undefined, { organization, address }: Access): string {
  if (tenantId === undefined) return turnOfNetwork(networkOf(address));
  const about = tenantId ?? organization ?? 'me';
  return tenantId === null && about === 'me' ? OPERATOR_TURN : turnOfTenant(about);
}

async function identify(tx: pg.ClientBase, credential: Credential, access: Access): Promise<Entered> {
  if (credential.kind === 'jwt') return identifyJwt(tx, credential.caller, access);
  if (credential.kind === 'link') return openLink(tx, credential);
  const { rows } = await tx.query<{
    key_id: string | null;
    session_id: string | null;
    tenant_id: string | null;
    name: string;
    scopes: Scope[];
    allowed_ips: string[] | null;
    expires_at: Date | null;
    target: string | null;
    verdict: 'organization' | 'scope' | null;
  }>({
    name: 'rowhook_enter_by_key',
    text: ENTER_BY_KEY,
    values: [credential.hash, access.address, access.organization, access.scopes],
  });
  const found = rows[0];
  if (found === undefined) throw unauthorized();
  refuse(found.verdict, access);
  const { key_id: keyId, session_id: sessionId, tenant_id: tenantId, name, scopes, expires_at: expiresAt } = found;
  return {
    tx,
    organization: access.organization === null ? null : found.target,
    caller: { keyId, sessionId, tenantId, name, scopes, allowedIps: found.allowed_ips, expiresAt },
  };
}

/** The session begins in this transaction, which has the tenant of the link once it is opened. */
async function openLink(tx: pg.ClientBase, { hash, session }: Credential & { kind: 'link' }): Promise<Entered> {
  const { rows } = await tx.query<{
    session_id: string;
    tenant_id: string;
    name: string;
    scopes: Scope[];
    expires_at: Date;
  }>(ENTER_BY_LINK, [hash, session.hash]);
  const found = rows[0];
  if (found === undefined) throw unauthorized();
  const { session_id: sessionId, tenant_id: tenantId, name, scopes, expires_at: expiresAt } = found;
  return {
    tx,
    organization: null,
    caller: { keyId: null, sessionId, tenantId, name, scopes, allowedIps: null, expiresAt },
  };
}

async function identifyJwt(tx: pg.ClientBase, caller: Caller, access: Access): Promise<Entered> {
  // A stream enters again long after its token was verified.
  if (caller.expiresAt !== null && caller.expiresAt.getTime() <= Date.now()) throw unauthorized();
  const isOwn = access.organization === null || access.organization === 'me' || access.organization === caller.tenantId;
  const mayDoIt = caller.scopes.some((scope) => access.scopes.includes(scope));
  refuse(isOwn ? (mayDoIt ? null : 'scope') : 'organization', access);
  const values = [caller.tenantId, `token of ${caller.name}`];
  await tx.query({ name: 'rowhook_enter_by_jwt', text: ENTER_BY_JWT, values });
  return { tx, caller, organization: access.organization === null ? null : caller.tenantId };
}

/** The path of another organization is as unknown as one that does not exist. */
function refuse(verdict: 'organization' | 'scope' | null, { scopes }: Access): void {
  if (verdict === 'organization') throw new Problem('not_found', 'There is no such organization.');
  if (verdict === 'scope') throw new Problem('forbidden', `The token needs the scope ${scopes.join(' or ')}.`);
}
