/**
 * Verifies a request of an inbound source over its raw bytes. Pure.
 *
 * Every comparison takes the same time wherever the texts differ, and nobody learns what was wrong:
 * the answer is yes or no.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { headerOf, type InboundSource, type RequestHeaders } from './source.ts';

/** A signed time may differ by this much, so a recorded request cannot be sent again later. */
export const TOLERANCE_SECONDS = 300;

/** Limit on signatures of one request: each costs a comparison for each secret. */
const SIGNATURES_MAX = 20;

type Key = string | Buffer;

/** What a scheme signs, and the signatures that came. Undefined: something is missing. */
interface Signed {
  /** The parts of the signed text, in their order. */
  parts: readonly (string | Buffer)[];
  signatures: readonly string[];
  algorithm: string;
  encoding: 'hex' | 'base64';
  /** Unix seconds. Null: the scheme signs no time. */
  at: number | null;
  /** The key that a secret stands for. */
  keyOf: (secret: string) => Key;
}

const plain = (secret: string): Key => secret;

/** Stands for a source that does not exist. Nobody has its secret. */
const NOBODY = { secrets: [randomBytes(32).toString('hex')] };

/**
 * Whether the request comes from the source. `now` is in milliseconds. Undefined: there is no such
 * source. A refusal hashes the body in any case: 1 MiB takes a millisecond, so its time would tell
 * whether the source exists.
 */
export function isFrom(source: InboundSource | undefined, headers: RequestHeaders, body: Buffer, now: number): boolean {
  if (source?.verification === 'api_key' && hasKey(source, headers)) return true;
  const signed = (source && signedBy(source, headers, body)) ?? unsigned(body);
  const { parts, algorithm, encoding, at, keyOf } = signed;
  const signatures = signed.signatures.slice(0, SIGNATURES_MAX);
  let matches = 0;
  for (const secret of (source ?? NOBODY).secrets) {
    const hmac = createHmac(algorithm, keyOf(secret));
    for (const part of parts) hmac.update(part);
    const expected = hmac.digest(encoding);
    for (const signature of signatures) matches += Number(equal(signature, expected));
  }
  const isInTime = at === null || Math.abs(now / 1_000 - at) <= TOLERANCE_SECONDS;
  return isInTime && matches > 0;
}

/** What a source that signs a time has signed. It is the same when the request is sent again. */
export function hashOfSigned(source: InboundSource, headers: RequestHeaders, body: Buffer): string {
  const hash = createHash('sha256');
  for (const part of signedBy(source, headers, body)?.parts ?? [body]) hash.update(part);
  return hash.digest('hex');
}

const unsigned = (body: Buffer): Signed => ({
  ...{ parts: [body], signatures: [], algorithm: 'sha256', encoding: 'hex', at: null, keyOf: plain },
});

/** Digests are compared, because texts of unequal length cannot be. */
function equal(given: string, expected: string): boolean {
  return timingSafeEqual(digest(given), digest(expected));
}

const digest = (text: string) => createHash('sha256').update(text).digest();

function hasKey({ secrets, signature_header }: InboundSource, headers: RequestHeaders): boolean {
  const bearer = /^Bearer +(\S+) *$/i.exec(headerOf(headers, 'authorization') ?? '')?.[1];
  const named = headerOf(headers, signature_header ?? 'x-api-key');
  const given = signature_header === null ? (named ?? bearer) : named;
  if (given === undefined) return false;
  let matches = 0;
  for (const secret of secrets) matches += Number(equal(given, secret));
  return matches > 0;
}

function signedBy(source: InboundSource, headers: RequestHeaders, body: Buffer): Signed | undefined {
  const header = (name: string) => headerOf(headers, name);
  const sha256 = { algorithm: 'sha256', keyOf: plain };
  switch (source.verification) {
    case 'standard_webhooks': {
      // Some senders use the names of the library that became the standard.
      const brand = header('webhook-id') === undefined ? 'svix' : 'webhook';
      const [id, time] = [header(`${brand}-id`), header(`${brand}-timestamp`)];
      const given = header(`${brand}-signature`)?.split(' ') ?? [];
      if (id === undefined || time === undefined) return undefined;
      const signatures = given.flatMap((one) => (one.startsWith('v1,') ? [one.slice(3)] : []));
      const parts = [`${id}.${time}.`, body];
      return { parts, signatures, algorithm: 'sha256', encoding: 'base64', at: secondsOf(time), keyOf: standardKey };
    }
    case 'stripe': {
      const fields = (header('stripe-signature') ?? '').split(',').map((field) => field.trim().split('='));
      const time = fields.find(([name]) => name === 't')?.[1];
      if (time === undefined) return undefined;
      const signatures = fields.flatMap(([name, value = '']) => (name === 'v1' ? [value] : []));
      return { ...sha256, parts: [`${time}.`, body], signatures, encoding: 'hex', at: secondsOf(time) };
    }
    case 'slack': {
      const time = header('x-slack-request-timestamp');
      if (time === undefined) return undefined;
      const signatures = one(header('x-slack-signature'), 'v0=');
      return { ...sha256, parts: [`v0:${time}:`, body], signatures, encoding: 'hex', at: secondsOf(time) };
    }
    case 'github': {
      const signatures = one(header('x-hub-signature-256'), 'sha256=');
      return { ...sha256, parts: [body], signatures, encoding: 'hex', at: null };
    }
    case 'shopify': {
      const signatures = one(header('x-shopify-hmac-sha256'), '');
      return { ...sha256, parts: [body], signatures, encoding: 'base64', at: null };
    }
    case 'hmac': {
      const algorithm = source.signature_algorithm ?? 'sha256';
      const encoding = source.signature_encoding ?? 'hex';
      const given = header(source.signature_header ?? 'x-signature') ?? '';
      // Many write the name of the algorithm before it.
      const bare = given.startsWith(`${algorithm}=`) ? given.slice(algorithm.length + 1) : given;
      const signatures = bare === '' ? [] : [encoding === 'hex' ? bare.toLowerCase() : bare];
      return { parts: [body], signatures, algorithm, encoding, at: null, keyOf: plain };
    }
    case 'api_key':
      return undefined;
  }
}

function one(header: string | undefined, prefix: string): string[] {
  return header?.startsWith(prefix) ? [header.slice(prefix.length)] : [];
}

/** Not a time at all is as wrong as one of long ago. */
function secondsOf(text: string): number {
  return /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN;
}

/** The libraries of the standard decode what follows whsec_. */
function standardKey(secret: string): Key {
  const rest = secret.replace(/^whsec_/, '');
  const isBase64 = /^[A-Za-z0-9+/]+={0,2}$/.test(rest) && rest.length % 4 === 0;
  return isBase64 ? Buffer.from(rest, 'base64') : secret;
}
