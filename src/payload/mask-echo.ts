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
  const secrets = [...masked.flatMap(([, value]) => credentialsOf(value)), ...querySecrets(url)]
    // Forms write a blank as +.
    .flatMap((value) => (value.includes(' ') ? [value, value.replaceAll(' ', '+')] : [value]))
    .filter((value) => value.length >= LENGTH_MIN)
    // Longest first, because one secret may be a part of another.
    .sort((a, b) => b.length - a.length);
  if (secrets.length === 0) return outcome;
  const hide = (text: string) => {
    const rest = secrets.reduce((left, secret) => left.replaceAll(secret, MASK), text);
    return withoutEscaped(rest, secrets);
  };
  const headers = Object.entries(response.headers).map(([name, value]) => [name, name === KEPT ? value : hide(value)]);
  const body = withoutBeginning(hide(response.body), secrets);
  return { ...outcome, response: { ...response, headers: Object.fromEntries(headers), body } };
}

/** A header's whole value, the value without its scheme, and the password of Basic. */
function credentialsOf(value: string): string[] {
  const bare = value.replace(/^(Bearer|Basic) /, '');
  if (!value.startsWith('Basic ')) return [value, bare];
  const pair = Buffer.from(bare, 'base64').toString();
  return [value, bare, pair, pair.slice(pair.indexOf(':') + 1)];
}

const ESCAPE = /\\u[0-9a-f]{4}|\\[^u]|(?:%[0-9a-f]{2})+|&(?:#\d{1,6}|#x[0-9a-f]{1,5}|amp|lt|gt|quot|apos);/gi;

/** Decodes the escapes in `text`, finds secrets in the result, and masks them in `text`. */
function withoutEscaped(text: string, secrets: readonly string[]): string {
  if (!/[\\%&]/.test(text)) return text;
  let plain = '';
  /** For each UTF-16 unit of `plain`: the position in `text` where its spelling begins. */
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

  const hidden = new Uint8Array(plain.length);
  for (const secret of secrets)
    for (let at = plain.indexOf(secret); at >= 0; at = plain.indexOf(secret, at + secret.length))
      hidden.fill(1, at, at + secret.length);
  let result = '';
  read = 0;
  for (let at = hidden.indexOf(1); at >= 0; at = hidden.indexOf(1, at)) {
    result += text.slice(read, starts[at]) + MASK;
    // One escape may stand for several units.
    do at += 1;
    while (hidden[at] === 1 || starts[at] === starts[at - 1]);
    read = starts[at] as number;
  }
  return result + text.slice(read);
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
      if (body.endsWith(secret.slice(0, length) + CUT)) return body.slice(0, -length - CUT.length) + MASK + CUT;
    }
  }
  return body;
}
