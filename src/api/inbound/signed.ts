/** Requests of inbound sources, which sign. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { at, eventNameOf } from '../../inbound/event-name.ts';
import { readsForms } from '../../inbound/form.ts';
import { keysOf } from '../../inbound/once.ts';
import { headerOf, isSourceName, withoutSecret } from '../../inbound/source.ts';
import { isFrom } from '../../inbound/verify.ts';
import { type FoundSource, findSource } from '../../operations/inbound/receive.ts';
import { Problem, unauthorized } from '../problem.ts';
import { bytesOf, problemOf, read } from './arrived.ts';
import type { Intake } from './intake.ts';

/** What a request names. An id alone names tenant and source. */
function sourceOf({ params, headers }: FastifyRequest) {
  const { source: named } = params as { source: string };
  const tenantId = headerOf(headers, 'x-tenant-id');
  return {
    named,
    tenantId,
    sender: `source ${JSON.stringify(named.startsWith('src_') ? [named] : [named, tenantId])}`,
  };
}

/** Before the body is read. */
export function refuseFailed(intake: Intake, request: FastifyRequest): Promise<void> {
  const { sender } = sourceOf(request);
  return intake.service.requireFewFailures(request, sender, intake.knows(sender));
}

export async function receiveSigned(intake: Intake, request: FastifyRequest, reply: FastifyReply): Promise<object> {
  const { named, tenantId, sender } = sourceOf(request);
  const source = await verified(intake, request, named, tenantId, sender);
  await intake.count(request, reply, sender, source.tenant_id);
  const body = bytesOf(request);
  const arrived = read(request, body, readsForms(source));
  if ('problem' in arrived) throw arrived.problem;
  const { text, value } = arrived;
  if (source.verification === 'slack' && at(value, 'type') === 'url_verification') {
    return { challenge: String(at(value, 'challenge') ?? '') };
  }
  const headers = withoutSecret(source, request.headers);
  const arrival = intake.arrival(request, headers, body, {
    sender: { by: 'source', sourceId: source.id },
    eventName: eventNameOf(source, headers, value),
    payload: text,
    keys: keysOf(source, headers, body, value),
  });
  const problem = problemOf(arrival);
  if (problem) throw problem;
  const stored = await intake.store(sender, arrival);
  if (stored.verdict !== null) throw new Problem('gone', 'This source was removed. Stop sending to it.');
  return intake.answer(reply, stored, text);
}

/** The source of a request, whose signature is right. Everything else is refused alike, in text and time. */
async function verified(
  intake: Intake,
  request: FastifyRequest,
  named: string,
  tenantId: string | undefined,
  sender: string,
): Promise<FoundSource> {
  const { service } = intake;
  await service.requireFewFailures(request, sender, intake.knows(sender));
  await intake.requireRoom(request, sender);
  const source = await findNamed(intake, request, sender, named, tenantId);
  if (source?.is_removed) throw new Problem('gone', 'This source was removed. Stop sending to it.');
  const isRight = isFrom(source, request.headers, bytesOf(request), Date.now());
  if (source === undefined) return service.refuse(request, unauthorized());
  if (!isRight || !source.is_allowed) return service.refuse(request, unauthorized(), sender);
  return source;
}

async function findNamed(
  intake: Intake,
  request: FastifyRequest,
  sender: string,
  named: string,
  tenantId: string | undefined,
): Promise<FoundSource | undefined> {
  const address = intake.service.addressOf(request);
  if (!isSourceName(named)) return undefined;
  if (named.startsWith('src_')) return intake.run(request, sender, (pool) => findSource(pool, { id: named }, address));
  if (tenantId === undefined) return undefined;
  return intake.run(request, sender, (pool) => findSource(pool, { tenantId, name: named }, address));
}
