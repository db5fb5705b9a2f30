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
