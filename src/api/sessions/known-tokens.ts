/**
 * Tokens that the database accepted before, with their organizations. So the organization of a
 * request is known before the request has a connection. Its places are counted for it, and its
 * rate limit costs the database nothing.
 */
import type { Credential } from '../auth.ts';

/** How many tokens are remembered. The least recent are forgotten, and are verified again. */
const TOKENS_MAX = 10_000;

export class KnownTokens {
  /** Null: the token of an operator. */
  readonly #tenants = new Map<string, string | null>();

  has(credential: Credential): boolean {
    return this.tenantOf(credential) !== undefined;
  }

  /** Undefined: the token was not accepted before. */
  tenantOf(credential: Credential): string | null | undefined {
    // A JWT is verified without the database.
    return credential.kind === 'jwt' ? credential.caller.tenantId : this.#tenants.get(credential.limitedAs);
  }

  note({ kind, limitedAs }: Credential, tenantId: string | null): void {
    if (kind !== 'key') return;
    this.#tenants.delete(limitedAs);
    this.#tenants.set(limitedAs, tenantId);
    if (this.#tenants.size > TOKENS_MAX) this.#tenants.delete(this.#tenants.keys().next().value as string);
  }

  forget({ limitedAs }: Credential): void {
    this.#tenants.delete(limitedAs);
  }
}
