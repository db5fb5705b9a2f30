/**
 * Where others send their webhooks to: POST /api/webhooks/:event_name and /api/v1/webhooks/receive.
 *
 * An event is committed before it is answered. Signatures are over the raw bytes, so these routes
 * read their bodies as bytes, and what is wrong with a body is told to verified senders only.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { unsignedName } from '../../inbound/event-name.ts';
import { keyOfHeaders } from '../../inbound/once.ts';
import { headerOf } from '../../inbound/source.ts';
import type { Sender } from '../../operations/inbound/receive.ts';
import type { Credential } from '../auth.ts';
import { notFound, Problem, toProblem, unauthorized } from '../problem.ts';
import { closed, Problem as ProblemSchema, Time, Type } from '../schema.ts';
import type { Service, TokenOptions } from '../service.ts';
import { enter } from '../transaction.ts';
import { bytesOf, problemOf, read } from './arrived.ts';
import { OfNamed, OfSource, OfUnnamed } from './headers.ts';
import { Intake } from './intake.ts';
import { receiveSigned, refuseFailed } from './signed.ts';

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

/** A larger body is parsed once its token is verified: anybody could have the event loop parse. */
const UNVERIFIED_BYTES_MAX = 16_384;

const RESPONSE = { 200: Received, 201: Received, '4xx': ProblemSchema, '5xx': ProblemSchema };

const about = { tags: ['receiving'], body: Type.Any({ description: 'JSON, 1 MiB at most' }), response: RESPONSE };

export function addEndpoint(app: FastifyInstance, service: Service): void {
  const intake = new Intake(service);
  const refuseBlocked = (request: FastifyRequest) => service.refuseBlocked(request, tokenOptions(intake, request));
  app.register(async (scope) => {
    // The schemas are for the document: what they have is text, whatever comes.
    scope.setValidatorCompiler(() => () => true);
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
      onRequest: refuseBlocked,
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
      onRequest: refuseBlocked,
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
      onRequest: (request) => refuseFailed(intake, request),
      handler: (request, reply) => receiveSigned(intake, request, reply),
    });
  });
}

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
  const organization = organizationOf(request);
  const credential = await service.credentialOf(request, tokenOptions(intake, request));
  const sender = senderName(credential, organization);
  const isCounted = await intake.admit(request, reply, sender);
  const body = bytesOf(request);
  if (!isCounted && body.length > UNVERIFIED_BYTES_MAX) await requireInbound(intake, request, credential, organization);
  const arrived = read(request, body, false);
  if ('problem' in arrived) {
    // The token is checked first: an unknown one must not learn what is wrong with its body.
    await requireInbound(intake, request, credential, organization);
    throw arrived.problem;
  }
  const { text, value } = arrived;
  const key = keyOfHeaders(request.headers);
  const arrival = intake.arrival(request, request.headers, body, {
    sender: senderOf(credential, organization),
    eventName: name ?? unsignedName(request.headers, value),
    payload: text,
    keys: key === undefined ? [] : [key],
  });
  const problem = problemOf(arrival);
  if (problem || credential.kind === 'jwt') await requireInbound(intake, request, credential, organization);
  if (problem) throw problem;
  if (credential.kind === 'jwt') request.caller = credential.caller;
  const stored = await intake.store(sender, arrival);
  if (stored.key_id !== null && stored.verdict !== 'organization') service.noteUsed(stored.key_id);
  if (stored.verdict !== null) {
    if (stored.verdict === 'scope') throw new Problem('forbidden', 'The token needs the scope inbound.');
    intake.forget(sender);
    return service.refuse(request, unauthorized());
  }
  if (!isCounted) await intake.remember(request, reply, sender, stored.tenant_id);
  return intake.answer(reply, stored, text);
}

const organizationOf = ({ headers }: FastifyRequest) => headerOf(headers, 'x-tenant-id') ?? null;

const senderName = ({ limitedAs }: Credential, organization: string | null) => `${limitedAs} ${organization ?? ''}`;

function tokenOptions(intake: Intake, request: FastifyRequest): TokenOptions {
  return { isKnown: (credential) => intake.knows(senderName(credential, organizationOf(request))) };
}

function senderOf(credential: Credential, organization: string | null): Sender {
  if (credential.kind === 'jwt') return { by: 'tenant', tenantId: credential.caller.tenantId as string };
  return { by: 'token', hash: credential.hash, organization };
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
