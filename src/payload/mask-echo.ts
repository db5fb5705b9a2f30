/**
 * Masks a webhook's credentials in a response. Some receivers, such as test endpoints, echo the
 * request. Without masking, everybody who may read the log could read values that are write-only in
 * the webhook. So every value that was masked in the request is masked in the response, also in the
 * spellings of JSON, URLs and HTML. For example, PHP's JSON has `\/`, .NET's has `\u002B`, and a
 * form has `%2F`.
 */

import type { Request } from '../model.ts';
import type { Outcome } from '../outcome.ts';
import { MASK, querySecrets } from './mask.ts';

/** Shorter values occur by chance in many texts, so they are not masked. */
const LENGTH_MIN = 4;

/**
 * A longer value is searched in pieces of this length at most. V8 searches for a text of more than
 * 250 characters in time that may grow with the product of both lengths.
 */
const PIECE_MAX = 200;

/**
 * Limit on values times characters of one response. Above it, nothing of the response is kept. A
 * tenant chooses both, and everybody waits for the search: 90 ms for 1,500 headers and a query of
 * 400 values. With 100 such webhooks, the daemon lost its lanes.
 */
const WORK_MAX = 500_000;
/** A response counts for this many characters at least. */
const CHARACTERS_MIN = 4_096;

/** Stands between two texts that are searched together. No text that PostgreSQL stores contains it. */
const BETWEEN = '\0';

/** This header says when to retry. It is read after masking, so it stays unchanged. */
const KEPT = 'retry-after';

/** The end of a body that was cut. */
const CUT = '…';

export function withoutEcho(
  outcome: Outcome,
  { url, headers: sent }: Pick<Request, 'url' | 'headers'>,
  logged: Record<string, string>,
): Outcome {
  const { response } = outcome;
  if (!response || (sent === logged && !url.includes('?'))) return outcome;
  const masked = Object.entries(sent).filter(([name, value]) => logged[name] !== value);
  const secrets = secretsOf([...masked.flatMap(([, value]) => credentialsOf(value)), ...querySecrets(url)]);
  if (secrets.length === 0) return outcome;
  const headers = Object.entries(response.headers);
  const hidden = hide([response.body, ...headers.map(([name, value]) => (name === KEPT ? '' : value))], secrets);
  return {
    ...outcome,
    response: {
      ...response,
      headers: Object.fromEntries(
        headers.map(([name, value], i) => [name, name === KEPT ? value : (hidden[i + 1] as string)]),
      ),
      body: withoutBeginning(hidden[0] as string, secrets),
    },
  };
}

/** The texts to search for, longest first, because one secret may be a part of another. */
function secretsOf(values: readonly string[]): string[] {
  const secrets = new Set<string>();
  for (const value of values) {
    for (const piece of piecesOf(value)) if (piece.length >= LENGTH_MIN) secrets.add(piece);
    // Forms write a blank as +.
    if (value.includes(' ')) for (const piece of piecesOf(value.replaceAll(' ', '+'))) secrets.add(piece);
  }
  return [...secrets].sort((a, b) => b.length - a.length);
}

/** Masks the secrets in all texts together. */
function hide(texts: readonly string[], secrets: readonly string[]): string[] {
  const joined = texts.join(BETWEEN);
  if (secrets.length * Math.max(joined.length, CHARACTERS_MIN) > WORK_MAX) return texts.map(() => MASK);
  return hideIn(joined, secrets).split(BETWEEN);
}

function piecesOf(value: string): string[] {
  if (value.length <= PIECE_MAX && !value.includes(BETWEEN)) return [value];
  return value.split(BETWEEN).flatMap((part) => {
    const count = Math.ceil(part.length / PIECE_MAX);
    const length = Math.ceil(part.length / count);
    return Array.from({ length: count }, (_, i) => part.slice(i * length, (i + 1) * length));
  });
}

/** A header's whole value, the value without its scheme, and the password of Basic. */
function credentialsOf(value: string): string[] {
  const bare = value.replace(/^(Bearer|Basic) /, '');
  if (!value.startsWith('Basic ')) return [value, bare];
  const pair = Buffer.from(bare, 'base64').toString();
  return [value, bare, pair, pair.slice(pair.indexOf(':') + 1)];
}

const ESCAPE = /\\u[0-9a-f]{4}|\\[^u]|(?:%[0-9a-f]{2})+|&(?:#\d{1,6}|#x[0-9a-f]{1,5}|amp|lt|gt|quot|apos);/gi;

/**
 * Finds the secrets in `text` as it is, and with its escapes decoded. Places that touch are masked as
 * one.
 */
function hideIn(text: string, secrets: readonly string[]): string {
  const hidden = new Uint8Array(text.length);
  let isFound = false;
  const find = (plain: string, starts?: readonly number[]) => {
    for (const secret of secrets) {
      const { length } = secret;
      for (let from = 0; ; ) {
        const at = plain.indexOf(secret, from);
        if (at < 0) break;
        let end = at + length;
        // One escape may stand for several units, and is masked as a whole.
        if (starts) while (starts[end] === starts[end - 1]) end += 1;
        hidden.fill(1, starts?.[at] ?? at, starts?.[end] ?? end);
        isFound = true;
        from = Math.max(at + length, end - length + 1);
      }
    }
  };
  find(text);
  if (/[\\%&]/.test(text)) {
    const { plain, starts } = decoded(text);
    find(plain, starts);
  }
  if (!isFound) return text;
  let result = '';
  let read = 0;
  for (let at = hidden.indexOf(1); at >= 0; at = hidden.indexOf(1, at)) {
    result += text.slice(read, at) + MASK;
    do at += 1;
    while (hidden[at] === 1);
    read = at;
  }
  return result + text.slice(read);
}

/**
 * `starts`: for each UTF-16 unit of `plain`, and for its end, the position in `text` where its
 * spelling begins.
 */
function decoded(text: string): { plain: string; starts: number[] } {
  let plain = '';
  const starts: number[] = [];
  const add = (said: string, from: number, step: 0 | 1) => {
    for (let i = 0; i < said.length; i++) starts.push(from + i * step);
    plain += said;
  };
  let read = 0;
  for (const { 0: sequence, index } of text.matchAll(ESCAPE)) {
    add(text.slice(read, index), read, 1);
    add(unescaped(sequence), index, 0);
    read = index + sequence.length;
  }
  add(text.slice(read), read, 1);
  starts.push(text.length);
  return { plain, starts };
}

const CHARACTERS: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
const SHORT: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

function unescaped(sequence: string): string {
  if (sequence.startsWith('%')) return Buffer.from(sequence.replaceAll('%', ''), 'hex').toString();
  if (/^\\u/i.test(sequence)) return String.fromCharCode(Number.parseInt(sequence.slice(2), 16));
  if (sequence.startsWith('\\')) return SHORT[sequence.slice(1)] ?? sequence.slice(1);
  const name = sequence.slice(1, -1).toLowerCase();
  if (!name.startsWith('#')) return CHARACTERS[name] as string;
  return String.fromCodePoint(name[1] === 'x' ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1)));
}

/** Masks the beginning of a secret at the end of a body that was cut. */
function withoutBeginning(body: string, secrets: readonly string[]): string {
  if (!body.endsWith(CUT)) return body;
  for (const secret of secrets) {
    for (let length = secret.length - 1; length >= LENGTH_MIN; length--) {
      if (!body.endsWith(secret.slice(0, length) + CUT)) continue;
      const before = body.slice(0, -length - CUT.length);
      return (before.endsWith(MASK) ? before : before + MASK) + CUT;
    }
  }
  return body;
}
