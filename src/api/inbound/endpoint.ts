/**
 * Where others send their webhooks to: POST /api/webhooks/:event_name and /api/v1/webhooks/receive.
 *
 * An event is committed before it is answered. Signatures are over the raw bytes, so these routes
 * read their bodies as bytes, and what is wrong with a body is told to verified senders only.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { at, eventNameOf, isEventName, NAME_LENGTH_MAX, unsignedName } from '../../inbound/event-name.ts';
import { jsonOfForm, kindOf, readsForms } from '../../inbound/form.ts';
import { checkJson } from '../../inbound/json-bytes.ts';
import { KEY_BYTES_MAX, keyOfHeaders, keysOf } from '../../inbound/once.ts';
import { headerOf } from '../../inbound/source.ts';
import { isFrom } from '../../inbound/verify.ts';
import {
  type Arrival,
  type FoundSource,
  findSource,
  receiveByKey,
  receiveFor,
  receiveFromSource,
  type Stored,
} from '../../operations/inbound/receive.ts';
import type { Credential } from '../auth.ts';
import { notFound, Problem, toProblem, unauthorized } from '../problem.ts';
import { closed, Problem as ProblemSchema, Time, Type } from '../schema.ts';
import type { Service } from '../service.ts';
import { enter } from '../transaction.ts';
import { OfNamed, OfSource, OfUnnamed } from './headers.ts';
import { Intake } from './intake.ts';

/** Other routes have these names. */
const RESERVED = ['subscriptions', 'zapier'];

const Received = closed({
  id: Type.String(),
  tenant_id: Type.String(),
  event_name: Type.String(),
  payload: Type.Any({ description: 'the text as it came' }),
  status: Type.String({ description: 'received; of an event that came before, what it is now' }),
  received_at: Time,
});

const RESPONSE = { 200: Received, 201: Received, '4xx': ProblemSchema, '5xx': ProblemSchema };

const about = { tags: ['receiving'], body: Type.Any({ description: 'JSON, 1 MiB at most' }), response: RESPONSE };

export function addEndpoint(app: FastifyInstance, service: Service): void {
  const intake = new Intake(service);
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_, body, done) => done(null, body));
    scope.route({
      url: '/api/webhooks/:event_name',
      method: 'POST',
      schema: {
        ...about,
        'x-scopes': ['inbound'],
        operationId: 'postWebhooksByEventName',
        summary: 'Receive an event, with a key that has the scope inbound',
        description: 'X-Tenant-ID may name the organization. webhook-id or Idempotency-Key: it is stored once.',
        params: Type.Object({ event_name: Type.String() }),
        headers: OfNamed,
      },
      handler: (request, reply) => receiveNamed(intake, request, reply),
    });
    scope.route({
      url: '/api/v1/webhooks/receive',
      method: 'POST',
      schema: {
        ...about,
        'x-scopes': ['inbound'],
        operationId: 'postWebhooksReceive',
        summary: 'Receive an event that names itself, with a key that has the scope inbound',
        description: 'Its name is X-Webhook-Event, or type in the body.',
        headers: OfUnnamed,
      },
      handler: (request, reply) => receiveWithToken(intake, request, reply, undefined),
    });
    scope.route({
      url: '/api/v1/webhooks/receive/:source',
      method: 'POST',
      schema: {
        ...about,
        'x-scopes': [],
        operationId: 'postWebhooksReceiveBySource',
        summary: 'Receive a signed event of an inbound source',
        description: 'The id of the source, or its name together with X-Tenant-ID.',
        params: Type.Object({ source: Type.String() }),
        headers: OfSource,
      },
      handler: (request, reply) => receiveSigned(intake, request, reply),
    });
  });
}

const bytesOf = ({ body }: FastifyRequest): Buffer => (Buffer.isBuffer(body) ? body : Buffer.alloc(0));

function receiveNamed(intake: Intake, request: FastifyRequest, reply: FastifyReply): Promise<object> {
  const { event_name: name } = request.params as { event_name: string };
  if (RESERVED.includes(name)) throw notFound('event');
  return receiveWithToken(intake, request, reply, name);
}

async function receiveWithToken(
  intake: Intake,
  request: FastifyRequest,
  reply: FastifyReply,
  name: string | undefined,
): Promise<object> {
  const { service } = intake;
  const credential = await service.credentialOf(request);
  const organization = headerOf(request.headers, 'x-tenant-id') ?? null;
  const sender = `${credential.limitedAs} ${organization ?? ''}`;
  const isCounted = await intake.admit(request, reply, sender);
  const body = bytesOf(request);
  const arrived = read(request, body, false);
  if ('problem' in arrived) {
    // The token is checked first: an unknown one must not learn what is wrong with its body.
    await requireInbound(intake, request, credential, organization);
    throw arrived.problem;
  }
  const { text, value } = arrived;
  const key = keyOfHeaders(request.headers);
  const arrival = intake.arrival(request, body, {
    eventName: name ?? unsignedName(request.headers, value),
    payload: text,
    keys: key === undefined ? [] : [key],
  });
  const problem = problemOf(arrival);
  if (problem || credential.kind === 'jwt') await requireInbound(intake, request, credential, organization);
  if (problem) throw problem;
  const stored = await store(intake, request, credential, organization, arrival);
  if (stored === undefined) {
    intake.forget(sender);
    return service.refuse(request, unauthorized());
  }
  if (!isCounted) await intake.remember(request, reply, sender, stored.tenant_id);
  return intake.answer(reply, stored, text);
}

/** Undefined: the key is not known, or not one of this organization. */
async function store(
  intake: Intake,
  request: FastifyRequest,
  credential: Credential,
  organization: string | null,
  arrival: Arrival,
): Promise<Stored | undefined> {
  if (credential.kind === 'jwt') {
    const tenantId = credential.caller.tenantId as string;
    request.caller = credential.caller;
    return intake.store((pool) => receiveFor(pool, tenantId, arrival));
  }
  const stored = await intake.store((pool) => receiveByKey(pool, credential.hash, organization, arrival));
  if (stored === undefined || stored.verdict === 'organization') return undefined;
  if (stored.key_id !== null) intake.service.noteUsed(stored.key_id);
  if (stored.verdict === 'scope') throw new Problem('forbidden', 'The token needs the scope inbound.');
  return stored;
}

/** Throws unless the token may receive events of the organization. */
async function requireInbound(
  { service }: Intake,
  request: FastifyRequest,
  credential: Credential,
  organization: string | null,
): Promise<void> {
  const access = {
    organization: organization ?? 'me',
    scopes: ['inbound'] as const,
    readOnly: true,
    address: service.addressOf(request),
  };
  await enter(service, credential, access, async () => {}).catch((error: unknown) => {
    const { status } = toProblem(error);
    if (status === 401 || status === 404) return service.refuse(request, unauthorized());
    throw error;
  });
}

type Arrived = { text: string; value: unknown } | { problem: Problem };

/** The JSON of a body, unless it is wrong. Forms are for those who are known to send them. */
function read({ headers }: FastifyRequest, body: Buffer, mayBeForm: boolean): Arrived {
  const kind = kindOf(headers['content-type'], headerOf(headers, 'content-encoding'));
  if (kind === 'other' || (kind === 'form' && !mayBeForm)) {
    const detail = 'Send JSON, with content-type: application/json.';
    return { problem: new Problem('unsupported_media_type', detail) };
  }
  const checked = checkJson(kind === 'form' ? jsonOfForm(body) : body);
  return 'problem' in checked ? { problem: new Problem('bad_request', checked.problem) } : checked;
}

function problemOf({ eventName, keys }: Arrival): Problem | undefined {
  if (!isEventName(eventName)) {
    const detail = `An event name is like lead.captured, with ${NAME_LENGTH_MAX} characters at most.`;
    return new Problem('bad_request', detail);
  }
  if (keys.every((key) => Buffer.byteLength(key) <= KEY_BYTES_MAX)) return undefined;
  return new Problem('bad_request', `webhook-id or Idempotency-Key must have ${KEY_BYTES_MAX} bytes at most.`);
}

/** An id alone names tenant and source. */
async function receiveSigned(intake: Intake, request: FastifyRequest, reply: FastifyReply): Promise<object> {
  const { service } = intake;
  const { source: named } = request.params as { source: string };
  const tenantId = headerOf(request.headers, 'x-tenant-id');
  const sender = `source ${named} ${named.startsWith('src_') ? '' : tenantId}`;
  await service.requireFewFailures(request, sender);
  await intake.requireRoom(request, sender);
  const source = await findNamed(intake, request, named, tenantId);
  if (source === undefined) return service.refuse(request, unauthorized());
  if (source.is_removed) throw new Problem('gone', 'This source was removed. Stop sending to it.');
  const body = bytesOf(request);
  if (!source.is_allowed || !isFrom(source, request.headers, body, Date.now())) {
    return service.refuse(request, unauthorized(), sender);
  }
  await intake.count(request, reply, sender, source.tenant_id);
  const arrived = read(request, body, readsForms(source));
  if ('problem' in arrived) throw arrived.problem;
  const { text, value } = arrived;
  if (source.verification === 'slack' && at(value, 'type') === 'url_verification') {
    return { challenge: String(at(value, 'challenge') ?? '') };
  }
  const arrival = intake.arrival(request, body, {
    eventName: eventNameOf(source, request.headers, value),
    payload: text,
    keys: keysOf(source, request.headers, body, value),
  });
  const problem = problemOf(arrival);
  if (problem) throw problem;
  const stored = await intake.store((pool) => receiveFromSource(pool, source.id, arrival));
  if (stored === undefined) throw new Problem('gone', 'This source was removed. Stop sending to it.');
  return intake.answer(reply, stored, text);
}

async function findNamed(
  intake: Intake,
  request: FastifyRequest,
  named: string,
  tenantId: string | undefined,
): Promise<FoundSource | undefined> {
  const address = intake.service.addressOf(request);
  // No name has a NUL, and PostgreSQL no text.
  if (named.includes('\0')) return undefined;
  if (named.startsWith('src_')) return intake.run((pool) => findSource(pool, { id: named }, address));
  if (tenantId === undefined) return undefined;
  return intake.run((pool) => findSource(pool, { tenantId, name: named }, address));
}
