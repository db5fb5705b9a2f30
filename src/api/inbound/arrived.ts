/** The body of an inbound request, and what may be wrong with it. */
import type { FastifyRequest } from 'fastify';
import { isEventName, NAME_LENGTH_MAX } from '../../inbound/event-name.ts';
import { jsonOfForm, kindOf } from '../../inbound/form.ts';
import { checkJson } from '../../inbound/json-bytes.ts';
import { KEY_BYTES_MAX } from '../../inbound/once.ts';
import { headerOf } from '../../inbound/source.ts';
import type { Arrival } from '../../operations/inbound/receive.ts';
import { Problem } from '../problem.ts';

export const bytesOf = ({ body }: FastifyRequest): Buffer => (Buffer.isBuffer(body) ? body : Buffer.alloc(0));

export type Arrived = { text: string; value: unknown } | { problem: Problem };

/** The JSON of a body, unless it is wrong. Forms are for those who are known to send them. */
export function read({ headers }: FastifyRequest, body: Buffer, mayBeForm: boolean): Arrived {
  const kind = kindOf(headers['content-type'], headerOf(headers, 'content-encoding'));
  if (kind === 'other' || (kind === 'form' && !mayBeForm)) {
    const detail = 'Send JSON, with content-type: application/json.';
    return { problem: new Problem('unsupported_media_type', detail) };
  }
  const checked = checkJson(kind === 'form' ? jsonOfForm(body) : body);
  return 'problem' in checked ? { problem: new Problem('bad_request', checked.problem) } : checked;
}

export function problemOf({ eventName, keys }: Arrival): Problem | undefined {
  if (!isEventName(eventName)) {
    const detail = `An event name is like lead.captured, with ${NAME_LENGTH_MAX} characters at most.`;
    return new Problem('bad_request', detail);
  }
  if (keys.every((key) => Buffer.byteLength(key) <= KEY_BYTES_MAX)) return undefined;
  return new Problem('bad_request', `webhook-id or Idempotency-Key must have ${KEY_BYTES_MAX} bytes at most.`);
}
