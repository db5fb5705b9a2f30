/** Headers of the requests of others, for the document. src/inbound/ reads them. */
import { headersOf } from '../schema.ts';

const TENANT = { 'X-Tenant-ID': 'the organization; a token that has one needs no such header' };

const ONCE = {
  'webhook-id': 'names the request: the same again answers the first row',
  'Idempotency-Key': 'the same as webhook-id',
};

/** The path has the name of the event. */
export const OfNamed = headersOf({ ...TENANT, ...ONCE });

export const OfUnnamed = headersOf({
  ...TENANT,
  'X-Webhook-Event': 'the name of the event; else the body has it as type',
  ...ONCE,
});

export const OfSource = headersOf({
  'X-Tenant-ID': 'the organization, where the path has the name of a source',
});
