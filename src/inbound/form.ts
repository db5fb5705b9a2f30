/** Bodies that are not JSON, of senders that cannot do otherwise. Pure. */
import type { InboundSource } from './source.ts';

export type BodyKind = 'json' | 'form' | 'other';

export function kindOf(contentType: string | undefined, contentEncoding: string | undefined): BodyKind {
  if (contentEncoding !== undefined && contentEncoding !== 'identity') return 'other';
  const type = (contentType ?? '').split(';')[0]?.trim() ?? '';
  if (/^application\/([\w.-]+\+)?json$/i.test(type)) return 'json';
  return /^application\/x-www-form-urlencoded$/i.test(type) ? 'form' : 'other';
}

/** Slack's commands and GitHub's older webhooks are forms. */
export const readsForms = ({ verification }: InboundSource) => verification === 'slack' || verification === 'github';

/** The JSON in the field `payload`, else an object of all fields. */
export function jsonOfForm(body: Buffer): Buffer {
  const fields = new URLSearchParams(body.toString());
  const payload = fields.get('payload');
  return Buffer.from(payload ?? JSON.stringify(Object.fromEntries(fields)));
}
