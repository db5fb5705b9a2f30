/** Replays of a webhook: start, progress, cancel. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import {
  cancelReplay,
  currentSnapshot,
  isSnapshotCovered,
  queueReplay,
  type ReplayProgress,
  replayProgress,
  startReplay,
} from '../../operations/history/replay.ts';
import { invalid, notFound } from '../problem.ts';
import { type Again, Later, route } from '../route.ts';
import { closed, nullable, Time, Type } from '../schema.ts';
import type { Service } from '../service.ts';
import { OfWebhook, requireWebhook } from './attempts.ts';
import { TimeText, timeOf } from './values.ts';

const tag = 'replay';
const PATH = '/v1/:org/outgoing-webhooks/:id/replay';

/** A position is written up to 2 s after its events were read. */
const COVERED_MS_MAX = 5_000;
const ASK_EVERY_MS = 200;

export const Progress = closed({
  since: Time,
  until: Time,
  only: Type.String(),
  total: Type.Integer({ description: 'how many events were queued' }),
  left: Type.Integer({ description: 'how many of them wait for their first attempt' }),
  is_running: Type.Boolean(),
  started_at: Time,
  cancelled_at: nullable(Time),
});

const Only = Type.Union(
  [Type.Literal('failed'), Type.Literal('given_up'), Type.Literal('missed'), Type.Literal('all')],
  { description: 'failed (no attempts left; also given_up; the default), missed (never delivered) or all' },
);

function progressJson({ since, until, only, total, left, started_at, cancelled_at }: ReplayProgress) {
  return {
    since: since.toISOString(),
    until: until.toISOString(),
    only: only === 'given_up' ? 'failed' : only,
    total,
    left,
    is_running: left > 0,
    started_at: started_at.toISOString(),
    cancelled_at: cancelled_at?.toISOString() ?? null,
  };
}

export function addReplay(app: FastifyInstance, service: Service): void {
  const start = {
    summary: 'Send past events of a webhook again, with the same ids, after new ones',
    params: OfWebhook,
    body: closed({
      since: TimeText,
      until: Type.Optional(nullable(TimeText)),
      only: Type.Optional(Only),
      dry_run: Type.Optional(Type.Boolean({ description: 'true: only count' })),
    }),
    response: { 200: closed({ count: Type.Integer() }), 202: Progress },
  };
  route(
    app,
    service,
    { method: 'POST', path: PATH, tag, schema: start },
    async ({ tx, params, body: { since, until, only: which = 'failed', dry_run: dryRun = false }, reply }) => {
      const id = await requireWebhook(tx, params);
      const range = rangeOf(since, until);
      const only = which === 'failed' ? 'given_up' : which;
      const snapshot = await currentSnapshot(tx);
      return new Later(async (again) => {
        if (only !== 'given_up') await untilCovered(again, snapshot);
        if (dryRun) return { count: await again((more) => queueReplay(more, id, { range, only, dryRun: true })) };
        return again(async (more) => {
          await startReplay(more, id, { range, only });
          reply.code(202);
          return progressJson((await replayProgress(more, id)) as ReplayProgress);
        });
      });
    },
  );

  const read = { summary: 'How far the last replay of a webhook is', params: OfWebhook, response: { 200: Progress } };
  route(app, service, { method: 'GET', path: PATH, tag, schema: read }, async ({ tx, params }) => {
    const found = await replayProgress(tx, await requireWebhook(tx, params));
    if (found === undefined) throw notFound('replay');
    return progressJson(found);
  });

  const cancel = {
    summary: 'Cancel a replay: what waits for its first attempt is not sent',
    params: OfWebhook,
    response: { 200: closed({ cancelled: Type.Integer() }) },
  };
  route(app, service, { method: 'DELETE', path: PATH, tag, schema: cancel }, async ({ tx, params }) => {
    const id = await requireWebhook(tx, params);
    if ((await replayProgress(tx, id)) === undefined) throw notFound('replay');
    return { cancelled: await cancelReplay(tx, id) };
  });
}

function rangeOf(since: string, until: string | null | undefined) {
  const range = {
    since: timeOf('since', since) as string,
    until: timeOf('until', until ?? undefined) ?? new Date().toISOString(),
  };
  if (Date.parse(range.since) >= Date.parse(range.until))
    throw invalid([{ field: 'since', message: 'must be earlier than until' }]);
  return range;
}

/** Events that no daemon has read yet would be left out. No connection is held meanwhile. */
async function untilCovered(again: Again, snapshot: string): Promise<void> {
  for (const deadline = performance.now() + COVERED_MS_MAX; performance.now() < deadline; ) {
    if (await again((tx) => isSnapshotCovered(tx, snapshot))) return;
    await sleep(ASK_EVERY_MS);
  }
}
