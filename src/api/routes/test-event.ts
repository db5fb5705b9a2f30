/** One test event of a webhook, and what its receiver answered. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { readAttempt } from '../../operations/history/attempt-detail.ts';
import { findTestAttempt, queueOneTest } from '../../operations/webhooks/one-test.ts';
import { invalid, notFound, Problem } from '../problem.ts';
import { type Again, Later, route } from '../route.ts';
import { closed, Id, idOf, nullable, Type } from '../schema.ts';
import type { Service } from '../service.ts';
import { AttemptDetailSchema, attemptDetailJson, OfWebhook } from './attempts.ts';
import { isEventType } from './values.ts';

const ASK_EVERY_MS = 200;
/** The daemon reads, sends and records within this time beside the webhook's timeout. */
const MARGIN_MS = 2_000;
const TESTS_A_MINUTE = 10;

export const TestBody = Type.Optional(
  nullable(
    closed({
      event_type: Type.Optional(
        nullable(Type.String({ maxLength: 128, description: 'by default the first that the webhook wants' })),
      ),
    }),
  ),
);
export const TestAnswer = {
  200: AttemptDetailSchema,
  202: closed({ message: Type.String(), event_type: Type.String() }),
};

export function addTestEvent(app: FastifyInstance, service: Service): void {
  const run = testOf(app);
  const schema = {
    summary: 'Send a test event and wait for the answer, whatever it is',
    params: OfWebhook,
    body: TestBody,
    response: TestAnswer,
  };
  const ofToken = { ...schema, params: Type.Object({ id: Id }) };
  const dialect = {
    method: 'POST',
    path: '/v1/webhooks/:id/test',
    ofToken: true,
    tag: 'test',
  } as const;
  route(app, service, { ...dialect, schema: ofToken }, run as never);
  route(app, service, { method: 'POST', path: '/v1/:org/outgoing-webhooks/:id/test', tag: 'test', schema }, run);
}

type Call = Parameters<Parameters<typeof route>[3]>[0];

/** The handler. */
export function testOf(app: FastifyInstance) {
  const tests = app.createRateLimit({
    max: TESTS_A_MINUTE,
    timeWindow: 60_000,
    keyGenerator: (request) => String((request.params as { id?: string }).id).toLowerCase(),
  });
  return async ({ tx, params, body, request, reply }: Call) => {
    const id = idOf(params as unknown as { id: string }, 'webhook');
    const type = (body as { event_type?: string | null } | null | undefined)?.event_type ?? undefined;
    if (type !== undefined && !isEventType(type))
      throw invalid([{ field: 'event_type', message: 'is not an event type such as deal.updated' }]);
    const { rows } = await tx.query<{ timeout: number }>(
      'select timeout_ms as timeout from rowhook.webhook_configurations where id = $1',
      [id],
    );
    const [webhook] = rows;
    if (webhook === undefined) throw notFound('webhook');
    const limited = await tests(request);
    if (!limited.isAllowed && limited.isExceeded)
      throw new Problem('rate_limited', `A webhook is tested ${TESTS_A_MINUTE} times a minute at most.`, {
        headers: { 'retry-after': String(limited.ttlInSeconds) },
      });
    const queued = await queueOneTest(tx, id, type);
    if (queued === undefined) throw notFound('webhook');
    return new Later(async (again) => {
      const found = await firstAttempt(again, id, queued.outboxId, webhook.timeout + MARGIN_MS);
      if (found !== undefined) return attemptDetailJson(found);
      reply.code(202);
      const message = 'No daemon has sent the test yet. It is sent as soon as one runs: "rowhook start".';
      return { message, event_type: queued.eventType };
    });
  };
}

async function firstAttempt(again: Again, id: string, outboxId: string, ms: number) {
  for (const deadline = performance.now() + ms; ; ) {
    const found = await again(async (tx) => {
      const attempt = await findTestAttempt(tx, id, outboxId);
      return attempt === undefined ? undefined : readAttempt(tx, attempt);
    });
    if (found !== undefined || performance.now() > deadline) return found;
    await sleep(ASK_EVERY_MS);
  }
}
