/** An inbound source: a sender with its own way of signing. */

export const VERIFICATIONS = ['standard_webhooks', 'stripe', 'github', 'shopify', 'slack', 'hmac', 'api_key'] as const;

export type Verification = (typeof VERIFICATIONS)[number];

export interface InboundSource {
  id: string;
  tenant_id: string;
  name: string;
  verification: Verification;
  /** The present one, and the one before its last rotation while that is accepted. */
  secrets: readonly string[];
  signature_header: string | null;
  signature_algorithm: 'sha256' | 'sha512' | 'sha1' | null;
  signature_encoding: 'hex' | 'base64' | null;
  event_name: string | null;
  event_path: string | null;
  event_header: string | null;
}

export type RequestHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** A header that came once. */
export function headerOf(headers: RequestHeaders, name: string): string | undefined {
  const value = headers[name.toLowerCase()];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** As the database has it: an id, or the name of a source. */
export function isSourceName(text: string): boolean {
  return text.length <= 100 && /^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$/.test(text);
}

/**
 * The headers without the one that is the secret itself. A source may call it as it likes, also
 * like a header that is kept.
 */
export function withoutSecret(source: InboundSource, headers: RequestHeaders): RequestHeaders {
  const { verification, signature_header } = source;
  if (verification !== 'api_key') return headers;
  return { ...headers, [(signature_header ?? 'x-api-key').toLowerCase()]: undefined };
}
