/**
 * Signing and verifying, pure.
 *
 * Two signatures go out with every request. `webhook-signature` follows Standard Webhooks and covers the id, the time and
 * the body, so a receiver can refuse replays; `X-Webhook-Signature` covers the body alone and can be checked in one line of
 * any language. Keys are `KeyObject`s made once per secret: with OpenSSL 3 a signature of 1 kB takes 2.7 µs with a
 * KeyObject and 15 µs with a Buffer.
 */
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';

const PREFIX = 'whsec_';
const PADDED_BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$/;

/** Standard Webhooks: older or newer requests are refused, so that a recorded one cannot be sent again for ever. */
export const TOLERANCE_SECONDS = 300;

/** The two keys of one secret. */
export interface SigningKey {
  readonly standard: KeyObject;
  readonly hex: KeyObject;
}

/**
 * `whsec_<base64>` signs Standard Webhooks with the decoded bytes, any other secret with its UTF-8 bytes; the hex signature
 * always takes the UTF-8 bytes of the whole secret. A `whsec_` whose rest is not padded base64 counts as any other secret:
 * every library would refuse to decode it, and a daemon must not stop on one tenant's row.
 */
export function signingKey(secret: string): SigningKey {
  const hex = createSecretKey(secret, 'utf8');
  const rest = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : '';
  return { standard: PADDED_BASE64.test(rest) ? createSecretKey(rest, 'base64') : hex, hex };
}

/** `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`; `timestamp` in Unix seconds. */
export function standardSignature(
  key: SigningKey,
  id: string,
  timestamp: number | string,
  body: string | Buffer,
): string {
  return `v1,${createHmac('sha256', key.standard).update(`${id}.${timestamp}.`).update(body).digest('base64')}`;
}

/** The lower-case hex HMAC-SHA256 of the body. */
export function hexSignature(key: SigningKey, body: string | Buffer): string {
  return createHmac('sha256', key.hex).update(body).digest('hex');
}

export type SignatureCheck = 'valid' | 'missing' | 'malformed' | 'too_old' | 'too_new' | 'mismatch';

/** What a receiver got, header values as they came. */
export interface SignedRequest {
  id?: string | undefined;
  timestamp?: string | undefined;
  signature?: string | undefined;
  hexSignature?: string | undefined;
  body: string | Buffer;
}

/** Checks both signatures against any of the live secrets. A toleranceSeconds of Infinity takes requests of any age. */
export function verify(
  keys: readonly SigningKey[],
  request: SignedRequest,
  nowSeconds: number,
  toleranceSeconds = TOLERANCE_SECONDS,
): { standard: SignatureCheck; hex: SignatureCheck } {
  return { standard: verifyStandard(keys, request, nowSeconds, toleranceSeconds), hex: verifyHex(keys, request) };
}

function verifyStandard(
  keys: readonly SigningKey[],
  { id, timestamp, signature, body }: SignedRequest,
  nowSeconds: number,
  toleranceSeconds: number,
): SignatureCheck {
  if (!id || !timestamp || !signature) return 'missing';
  if (!/^\d{1,12}$/.test(timestamp)) return 'malformed';
  const given = signature.split(' ').filter((part) => part.startsWith('v1,'));
  if (given.length === 0) return 'malformed';

  const matches = keys.some((key) => {
    const expected = standardSignature(key, id, timestamp, body);
    return given.some((part) => equal(part, expected));
  });
  if (!matches) return 'mismatch';

  const ageSeconds = nowSeconds - Number(timestamp);
  if (ageSeconds > toleranceSeconds) return 'too_old';
  return ageSeconds < -toleranceSeconds ? 'too_new' : 'valid';
}

function verifyHex(keys: readonly SigningKey[], { hexSignature: given, body }: SignedRequest): SignatureCheck {
  if (!given) return 'missing';
  if (!/^[0-9a-f]{64}$/.test(given)) return 'malformed';
  return keys.some((key) => equal(given, hexSignature(key, body))) ? 'valid' : 'mismatch';
}

/** Takes the same time wherever two texts of one length differ; their length is no secret. */
function equal(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
}
