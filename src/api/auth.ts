/**
 * Who asks. A token is an API key or a session, whose hash the database knows, or a JWT of the
 * application.
 */
import { createRemoteJWKSet, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose';
import type { ServeSettings } from '../config/settings.ts';
import { hashOfToken, type Token } from '../operations/sessions.ts';
import { Problem, unauthorized, unavailable } from './problem.ts';

export type Scope = 'read' | 'write' | 'inbound' | 'keys' | 'operator';

/** For routes that every token may use. */
export const ANY_SCOPE: readonly Scope[] = ['read', 'write', 'inbound', 'keys', 'operator'];

/** Scopes that a JWT may have. */
const OF_JWT: readonly string[] = ['read', 'write', 'inbound', 'keys'];

/**
 * What came with a request. A JWT is verified. The database has yet to find an API key or a session
 * (key), or a portal link, which becomes the session.
 */
export type Credential =
  | { kind: 'key'; hash: Buffer; limitedAs: string }
  | { kind: 'link'; hash: Buffer; session: Token; limitedAs: string }
  | { kind: 'jwt'; caller: Caller; limitedAs: string };

export interface Caller {
  /** Null: a JWT, or a session. */
  keyId: string | null;
  /** Null: not a session. */
  sessionId: string | null;
  /** The organization of the token. Null: an operator. */
  tenantId: string | null;
  name: string;
  scopes: readonly Scope[];
  allowedIps: readonly string[] | null;
  expiresAt: Date | null;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

const KEY = /^rh[ks]_[A-Za-z0-9_-]{20,100}$/;
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;
const TOKEN_LENGTH_MAX = 8_192;

export class Authenticator {
  readonly #settings: ServeSettings;
  readonly #key: Uint8Array | JWTVerifyGetKey | null;

  constructor(settings: ServeSettings) {
    this.#settings = settings;
    const { jwtSecret, jwksUrl } = settings;
    this.#key = jwtSecret
      ? new TextEncoder().encode(jwtSecret)
      : jwksUrl
        ? createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: 3_000, cooldownDuration: 10_000 })
        : null;
  }

  /** Throws the same problem for every token that is wrong, or that is missing. */
  async credentialOf(token: string | null): Promise<Credential> {
    if (token === null || token.length > TOKEN_LENGTH_MAX) throw unauthorized();
    if (KEY.test(token)) {
      const hash = hashOfToken(token);
      return { kind: 'key', hash, limitedAs: hash.toString('base64') };
    }
    if (this.#key === null || !JWT.test(token)) throw unauthorized();
    return this.#jwt(token, this.#key);
  }

  async #jwt(token: string, key: Uint8Array | JWTVerifyGetKey): Promise<Credential> {
    const { jwtIssuer: issuer, jwtAudience: audience } = this.#settings;
    const options = {
      algorithms: key instanceof Uint8Array ? ['HS256'] : ASYMMETRIC,
      requiredClaims: ['exp'],
      ...(issuer && { issuer }),
      ...(audience && { audience }),
    };
    try {
      // jose reads neither jku nor x5u.
      const { payload } =
        key instanceof Uint8Array ? await jwtVerify(token, key, options) : await jwtVerify(token, key, options);
      const caller = this.#callerOf(payload);
      return { kind: 'jwt', caller, limitedAs: `jwt ${caller.tenantId} ${payload.sub ?? ''}` };
    } catch (error) {
      if (error instanceof Problem) throw error;
      // The keys cannot be fetched: the token may be right.
      const { code = '' } = error as { code?: string };
      if (code === 'ERR_JWKS_TIMEOUT' || !code.startsWith('ERR_J')) {
        throw unavailable('The keys of the tokens cannot be fetched at the moment.', error);
      }
      throw unauthorized();
    }
  }

  #callerOf(payload: JWTPayload): Caller {
    const { jwtTenantClaim, jwtScopeClaim } = this.#settings;
    const tenantId = payload[jwtTenantClaim];
    if (typeof tenantId !== 'string' || tenantId === '' || Buffer.byteLength(tenantId) > 512 || tenantId.includes('\0'))
      throw unauthorized();
    const claimed = payload[jwtScopeClaim] ?? 'read';
    const given = typeof claimed === 'string' ? claimed.split(/\s+/) : Array.isArray(claimed) ? claimed : [];
    return {
      keyId: null,
      sessionId: null,
      tenantId,
      name: typeof payload.sub === 'string' ? payload.sub : 'token',
      scopes: given.filter((scope): scope is Scope => OF_JWT.includes(scope)),
      allowedIps: null,
      expiresAt: new Date((payload.exp as number) * 1000),
    };
  }
}

const ASYMMETRIC = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];

export function tokenOf({ authorization, 'x-api-key': key }: Headers): string | null {
  const bearer = typeof authorization === 'string' ? /^Bearer +(\S+) *$/i.exec(authorization)?.[1] : undefined;
  return bearer ?? (typeof key === 'string' && authorization === undefined ? key.trim() : null);
}
