/** What all routes share: connections, tokens, limits. */
import { isIP } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type pg from 'pg';
import type { ServeSettings } from '../config/settings.ts';
import type { Logger } from '../observe/log.ts';
import { type Authenticator, type Caller, type Credential, tokenOf } from './auth.ts';
import type { Groups } from './inbound/groups.ts';
import { Problem, type Problem as ProblemType, toProblem } from './problem.ts';
import { requireSameOrigin, tokenOfCookie } from './sessions/cookie.ts';
import { KnownTokens } from './sessions/known-tokens.ts';
import type { Turnstile } from './turnstile.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Null until the token is verified. */
    caller: Caller | null;
    /** What is wrong with a body that could not be read. */
    bodyProblem: ProblemType | null;
    /** The body as it came. */
    bodyText: string;
  }
}

/** What @fastify/rate-limit answers. */
interface Limited {
  max: number;
  remaining: number;
  ttlInSeconds: number;
  isExceeded: boolean;
}

export type Limit = (request: FastifyRequest, options?: { increment?: boolean }) => Promise<Limited | object>;

export interface Limits {
  /** Failures of an address. */
  failures: Limit;
  /** Requests of a key. */
  requests: Limit;
  /** Requests of a network for the OpenAPI document, without a token. */
  documents: Limit;
  /** Inbound events of an organization. */
  inbound: Limit;
  /** Failures of an address at an inbound source. */
  ofSource: Limit;
  /** Requests to a test URL. */
  ofTestUrl: Limit;
}

export interface Parts {
  settings: ServeSettings;
  pool: pg.Pool;
  turnstile: Turnstile;
  groups: Groups;
  authenticator: Authenticator;
  log: Logger;
  /** Called with each key that was used. */
  used(keyId: string): void;
}

export interface TokenOptions {
  /** Another place where a request may have its token. */
  otherwise?: ((request: FastifyRequest) => Credential | null) | undefined;
  /** Whether a token was accepted before; by default by the database, in a transaction of any route. */
  isKnown?: ((credential: Credential) => boolean) | undefined;
}

export class Service {
  readonly settings: ServeSettings;
  readonly pool: pg.Pool;
  readonly turnstile: Turnstile;
  /** Inbound events that are stored together. */
  readonly groups: Groups;
  readonly tokens = new KnownTokens();
  readonly log: Logger;
  readonly #parts: Parts;
  readonly #limitedAs = new WeakMap<FastifyRequest, string>();
  readonly #inboundAs = new WeakMap<FastifyRequest, string>();
  limits: Limits | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.settings = parts.settings;
    this.pool = parts.pool;
    this.turnstile = parts.turnstile;
    this.groups = parts.groups;
    this.log = parts.log;
  }

  /** Under which name the requests of a key are counted. */
  limitedAs(request: FastifyRequest): string {
    return this.#limitedAs.get(request) ?? '';
  }

  /** Under which name an inbound request is counted now: its organization, or its source. */
  inboundAs(request: FastifyRequest): string {
    return this.#inboundAs.get(request) ?? '';
  }

  /** Throws above the limit of the organization. */
  async countInbound(request: FastifyRequest, reply: FastifyReply, tenantId: string): Promise<void> {
    this.#inboundAs.set(request, tenantId);
    const limited = await this.limits?.inbound(request);
    if (!limited || !('remaining' in limited)) return;
    reply.headers(headersOf(limited));
    if (limited.isExceeded) throw tooMany(limited, 'inbound webhooks');
  }

  async countTestRequest(request: FastifyRequest): Promise<void> {
    const limited = await this.limits?.ofTestUrl(request);
    if (limited && 'isExceeded' in limited && limited.isExceeded) throw tooMany(limited, 'requests');
  }

  async countDocument(request: FastifyRequest): Promise<void> {
    const limited = await this.limits?.documents(request);
    if (limited && 'isExceeded' in limited && limited.isExceeded) throw tooMany(limited, 'requests');
  }

  async requireInboundRoom(request: FastifyRequest, tenantId: string): Promise<void> {
    this.#inboundAs.set(request, tenantId);
    const limited = await this.limits?.inbound(request, { increment: false });
    if (limited && 'remaining' in limited && limited.remaining === 0) throw tooMany(limited, 'inbound webhooks');
  }

  /**
   * Addresses of large senders are shared, so each source has failures of its own. Those of an
   * address count only for sources that were not verified before (`isKnown`): otherwise anybody
   * could have such a sender send nonsense to us, and so keep out all others who use it.
   */
  async requireFewFailures(request: FastifyRequest, source: string, isKnown: boolean): Promise<void> {
    const blocked = isKnown ? undefined : await this.#blocked(request);
    if (blocked !== undefined) throw blocked;
    this.#inboundAs.set(request, source);
    const failed = await this.limits?.ofSource(request, { increment: false });
    if (failed && 'remaining' in failed && failed.remaining === 0) throw tooMany(failed, 'failed attempts');
  }

  noteUsed(keyId: string): void {
    this.#parts.used(keyId);
  }

  /** Too many requests of this address have failed. */
  async #blocked(request: FastifyRequest): Promise<Problem | undefined> {
    const failed = await this.limits?.failures(request, { increment: false });
    return failed && 'remaining' in failed && failed.remaining === 0 ? tooMany(failed, 'failed attempts') : undefined;
  }

  /** From the headers alone, so the body of a blocked address is not kept. Answers as credentialOf() does. */
  async refuseBlocked(request: FastifyRequest, options: TokenOptions = {}): Promise<void> {
    if ((await this.#blocked(request)) !== undefined) await this.credentialOf(request, options);
  }

  /**
   * From an address that failed too often, only tokens count that were accepted before: an address
   * may be shared, and whoever fails must not keep out the others.
   */
  async credentialOf(request: FastifyRequest, { otherwise, isKnown }: TokenOptions = {}): Promise<Credential> {
    const blocked = await this.#blocked(request);
    try {
      const credential = otherwise?.(request) ?? (await this.#credentialOf(request));
      if (blocked !== undefined && !(isKnown?.(credential) ?? this.tokens.has(credential))) throw blocked;
      this.#limitedAs.set(request, credential.limitedAs);
      // A key above its limit costs the database nothing.
      const asked = await this.limits?.requests(request, { increment: false });
      if (asked && 'remaining' in asked && asked.remaining === 0) throw tooMany(asked, 'requests');
      return credential;
    } catch (error) {
      const problem = toProblem(error);
      if (problem.status !== 401) throw error;
      if (blocked !== undefined) throw blocked;
      return this.refuse(request, problem);
    }
  }

  /** A header goes before the cookie, which a browser adds by itself. */
  #credentialOf(request: FastifyRequest): Promise<Credential> {
    const { authenticator, settings } = this.#parts;
    const { authorization, 'x-api-key': key } = request.headers;
    if (authorization !== undefined || key !== undefined) return authenticator.credentialOf(tokenOf(request.headers));
    const token = tokenOfCookie(request);
    if (token !== null && request.method !== 'GET') requireSameOrigin(request, settings);
    return authenticator.credentialOf(token);
  }

  /** Counts the failure for its address, or for its address at a source. */
  async refuse(request: FastifyRequest, problem: Problem, source?: string): Promise<never> {
    if (source !== undefined) this.#inboundAs.set(request, source);
    await (source === undefined ? this.limits?.failures(request) : this.limits?.ofSource(request));
    throw problem;
  }

  /** Only requests with a valid token count against its limit. Resolves to headers of the answer. */
  async countRequest(request: FastifyRequest): Promise<Record<string, string>> {
    const limited = await this.limits?.requests(request);
    if (!limited || !('remaining' in limited)) return {};
    if (limited.isExceeded) throw tooMany(limited, 'requests');
    return headersOf(limited);
  }

  /** As PostgreSQL reads it. An IPv4 address may come in the form of IPv6. */
  addressOf({ ip }: FastifyRequest): string {
    const address = ip.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
    return isIP(address) ? address : '::';
  }
}

function tooMany(limited: Limited, what: string): Problem {
  const seconds = Math.max(1, limited.ttlInSeconds);
  return new Problem('rate_limited', `Too many ${what}. Try again in ${seconds} s.`, {
    headers: { ...headersOf(limited), 'retry-after': String(seconds) },
  });
}

function headersOf({ max, remaining, ttlInSeconds }: Limited): Record<string, string> {
  return {
    'ratelimit-limit': String(max),
    'ratelimit-remaining': String(remaining),
    'ratelimit-reset': String(ttlInSeconds),
  };
}
