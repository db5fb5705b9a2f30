/** Attempts: those of a webhook, one with its request and response, and counts of them. */
import type { FastifyInstance } from 'fastify';
import type pg from 'pg';
import { type AttemptDetail, readAttempt } from '../../operations/history/attempt-detail.ts';
import { type Attempt, readAttempts, readAttemptsOfEvent } from '../../operations/history/attempts.ts';
import { readStats } from '../../operations/history/stats.ts';
import { type Key, keyOf } from '../../operations/page.ts';
import { notFound, Problem } from '../problem.ts';
import { route } from '../route.ts';
import { closed, Id, idOf, LIMIT, listOf, nullable, Organization, Page, type Static, Time, Type } from '../schema.ts';
import type { Service } from '../service.ts';
import { TimeText, timeOf } from './values.ts';

const tag = 'deliveries';
const PATH = '/v1/:org/outgoing-webhooks/:id';
export const OfWebhook = Type.Object({ org: Organization, id: Id });

const Status = Type.Union([Type.Literal('success'), Type.Literal('failed'), Type.Literal('skipped')]);

export const EventId = Type.String({ pattern: '^evt_[0-9a-f]{1,32}_\\d{1,18}_\\d{1,4}$', description: 'evt_…' });

const ATTEMPT = {
  id: Type.String(),
  delivery_id: Type.String(),
  event_id: Type.String(),
  event_type: Type.String(),
  attempt: Type.Integer({ description: 'its number within the delivery, from 1' }),
  status: Type.String({ description: 'success, failed or skipped' }),
  code: Type.String({ description: 'why it ended this way: delivered, http_error, timeout …' }),
  response_status: nullable(Type.Integer()),
  duration_ms: nullable(Type.Integer()),
  attempted_at: Time,
  next_attempt_at: nullable(Time),
  error: nullable(Type.String()),
  remote_ip: nullable(Type.String()),
  user_agent: nullable(Type.String()),
};
export const AttemptSchema = closed(ATTEMPT);

const Headers = Type.Record(Type.String(), Type.String());
export const AttemptDetailSchema = closed({
  ...ATTEMPT,
  webhook_id: Type.String(),
  webhook_name: nullable(Type.String()),
  request: closed({
    method: Type.String(),
    url: Type.String(),
    headers: nullable(Headers),
    body: nullable(Type.String({ description: 'the exact text of the body' })),
    note: nullable(Type.String({ description: 'why there is no body' })),
  }),
  response: nullable(closed({ status: Type.Integer(), headers: nullable(Headers), body: nullable(Type.String()) })),
  curl: nullable(Type.String({ description: 'the same request as a command, without secrets' })),
});

export function attemptJson(row: Attempt): Static<typeof AttemptSchema> {
  return {
    ...row,
    attempted_at: row.attempted_at.toISOString(),
    next_attempt_at: row.next_attempt_at?.toISOString() ?? null,
  };
}

export function attemptDetailJson({ row, body, note, curl }: AttemptDetail): Static<typeof AttemptDetailSchema> {
  const { id, delivery_id, event_id, event_type, attempt, status, code, response_status, duration_ms, error } = row;
  const { attempted_at, next_attempt_at, remote_ip, user_agent, webhook_id, webhook_name } = row;
  const attemptOf = { id, delivery_id, event_id, event_type, attempt, status, code, response_status, duration_ms };
  return {
    ...attemptJson({ ...attemptOf, attempted_at, next_attempt_at, error, remote_ip, user_agent }),
    webhook_id,
    webhook_name,
    request: { method: row.request_method ?? 'POST', url: row.request_url, headers: row.request_headers, body, note },
    response:
      response_status === null
        ? null
        : { status: response_status, headers: row.response_headers, body: row.response_body },
    curl,
  };
}

/** The webhook must be one of the organization. */
export async function requireWebhook(tx: pg.ClientBase, params: { id: string }): Promise<string> {
  const id = idOf(params, 'webhook');
  const { rowCount } = await tx.query('select from rowhook.webhook_configurations where id = $1', [id]);
  if (rowCount === 0) throw notFound('webhook');
  return id;
}

/** Undefined: the first page. */
export function keyOfCursor(cursor: string | undefined, ids: Parameters<typeof keyOf>[1]): Key | undefined {
  if (cursor === undefined) return undefined;
  const key = keyOf(cursor, ids);
  if (key === undefined) throw new Problem('bad_request', 'cursor is not one that a page of this list gave.');
  return key;
}

export function addAttempts(app: FastifyInstance, service: Service): void {
  const list = {
    summary: 'List the attempts of a webhook, newest first',
    params: OfWebhook,
    querystring: closed({
      ...Page,
      status: Type.Optional(Status),
      event_id: Type.Optional(EventId),
      event_type: Type.Optional(Type.String({ maxLength: 128 })),
      since: Type.Optional(TimeText),
      until: Type.Optional(TimeText),
    }),
    response: { 200: listOf(AttemptSchema) },
  };
  route(
    app,
    service,
    { method: 'GET', path: `${PATH}/deliveries`, tag, schema: list },
    async ({ tx, params, query: { limit = LIMIT, cursor, event_id, status, event_type, since, until } }) => {
      const id = await requireWebhook(tx, params);
      const filter = { status, event_type, since: timeOf('since', since), until: timeOf('until', until) };
      const list = event_id === undefined ? readAttempts : readAttemptsOfEvent(event_id);
      const page = await list(tx, id, filter, { limit, cursor: keyOfCursor(cursor, 'number') });
      return { data: page.data.map(attemptJson), next_cursor: page.next_cursor };
    },
  );

  const read = {
    summary: 'Read an attempt with its request and response',
    params: Type.Object({ org: Organization, log_id: Type.String() }),
    response: { 200: AttemptDetailSchema },
  };
  route(
    app,
    service,
    { method: 'GET', path: '/v1/:org/attempts/:log_id', tag, schema: read },
    async ({ tx, params: { log_id: id } }) => {
      const found = /^\d{1,18}$/.test(id) ? await readAttempt(tx, id) : undefined;
      if (found === undefined) throw notFound('attempt');
      return attemptDetailJson(found);
    },
  );
  addStats(app, service);
}

/** Of a range of time. */
const COUNTS = {
  success: Type.Integer(),
  failed: Type.Integer(),
  skipped: Type.Integer(),
  p50: nullable(Type.Integer({ description: 'milliseconds' })),
  p95: nullable(Type.Integer({ description: 'milliseconds' })),
};

function addStats(app: FastifyInstance, service: Service): void {
  const schema = {
    summary: 'Count the attempts of a webhook per minute, hour or day (UTC), oldest first',
    description: 'Minutes, hours and days without an attempt are left out.',
    params: OfWebhook,
    querystring: closed({
      bucket: Type.Optional(Type.Union([Type.Literal('minute'), Type.Literal('hour'), Type.Literal('day')])),
      since: Type.Optional(TimeText),
      until: Type.Optional(TimeText),
    }),
    response: {
      200: closed({
        bucket: Type.String(),
        data: Type.Array(closed({ at: Time, ...COUNTS })),
        total: closed(COUNTS, { description: 'of the whole range; its percentiles are those of all attempts' }),
      }),
    },
  };
  route(
    app,
    service,
    { method: 'GET', path: `${PATH}/stats`, tag, schema },
    async ({ tx, params, query: { bucket = 'hour', since, until } }) => {
      const id = await requireWebhook(tx, params);
      const range = { since: timeOf('since', since), until: timeOf('until', until) };
      const { buckets, total } = await readStats(tx, id, { bucket, ...range });
      return { bucket, data: buckets.map(({ at, ...counts }) => ({ at: at.toISOString(), ...counts })), total };
    },
  );
}
