// Sends random requests to the API, and tells what must not happen: a 500, or no answer.

import fc from 'fast-check';
import { createKey, type TestApi } from './api.ts';
import type { Document } from './api-document.ts';
import { type FuzzRequest, fuzzRequests, type Ids } from './api-fuzz.ts';
import type { TestDatabase } from './database.ts';

/** Longer than a test event of the slowest webhook may take without a daemon: timeout_ms + 2 s. */
const ANSWER_MS_MAX = 40_000;

export interface FuzzReport {
  statuses: Record<string, number>;
  /** Operations by status class: a fuzz in which everything is 422 shows nothing. */
  succeeded: Set<string>;
  failures: string[];
}

export interface FuzzOptions {
  count: number;
  seed: number;
  atOnce: number;
  /** Paths that are left out. */
  without?: RegExp;
  /** Called after each request. */
  each?: (done: number) => void;
}

/** Requests delete what they name, so after this number there are new webhooks, keys and deliveries. */
const REQUESTS_WITH_IDS = 250;

/**
 * The session takes a token in its body, and the endpoints of inbound sources take keys of their own: each wrong one
 * counts against the address, which is soon refused with 429.
 */
const OTHER_TOKENS = /\/session$|\/webhooks\/(receive|\{event_name\})/;

export async function fuzz(api: TestApi, database: TestDatabase, options: FuzzOptions): Promise<FuzzReport> {
  const token = await createKey(database, 'acme', ['read', 'write', 'keys', 'inbound']);
  const operator = await createKey(database, null);
  const document = (await api.ask('GET', '/openapi.json')).body as unknown as Document;
  const report: FuzzReport = { statuses: {}, succeeded: new Set(), failures: [] };
  for (let done = 0; done < options.count; done += REQUESTS_WITH_IDS) {
    const ids = await idsOf(api, database, token);
    const numRuns = Math.min(REQUESTS_WITH_IDS, options.count - done);
    const requests = fc.sample(fuzzRequests(document, ids, options.without ?? OTHER_TOKENS), {
      seed: options.seed + done,
      numRuns,
    });
    let next = 0;
    const worker = async () => {
      for (let n = next++; n < requests.length; n = next++) {
        await send(api, requests[n] as FuzzRequest, n % 3 === 0 ? operator : token, report);
        options.each?.(done + n);
      }
    };
    await Promise.all(Array.from({ length: options.atOnce }, worker));
  }
  return report;
}

async function send(api: TestApi, request: FuzzRequest, token: string, report: FuzzReport): Promise<void> {
  const { method, path, body, contentType } = request;
  const what = `${method} ${path.slice(0, 300)} ${contentType} ${body?.slice(0, 500) ?? ''}`;
  try {
    const response = await fetch(`${api.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': contentType }) },
      ...(body !== undefined && { body }),
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
    const text = await response.text();
    const { status } = response;
    report.statuses[status] = (report.statuses[status] ?? 0) + 1;
    const isLimited = status === 429 && !path.split('?')[0]?.endsWith('/test');
    if (status >= 500 || status === 401 || isLimited) report.failures.push(`${status} ${what}: ${text.slice(0, 300)}`);
    if (status < 300) report.succeeded.add(`${method} ${path.split('?')[0]?.split('/').slice(0, 5).join('/')}`);
    if (status >= 400 && text.includes('select ')) report.failures.push(`SQL in the answer: ${what}: ${text}`);
    if (text !== '') JSON.parse(text);
  } catch (error) {
    report.failures.push(`${(error as Error).message} at ${what}`);
  }
}

/** Things of acme that requests may name. Some requests delete theirs. */
async function idsOf(api: TestApi, database: TestDatabase, token: string): Promise<Ids> {
  const post = async (path: string, body: object) =>
    String((await api.ask('POST', `/v1/me/${path}`, { token, body })).body.id);
  const hook = { name: 'n', target_url: 'https://hooks.example.com/', event_types: ['*'], timeout_ms: 1_000 };
  const webhooks = [await post('outgoing-webhooks', hook), await post('outgoing-webhooks', hook)];
  const keys = [await post('api-keys', { name: 'k' })];
  const event = await post('events', { event: 'deal.won', data: { id: 1 } });
  const rows = await database.query<{ id: string; delivery_id: string }>(
    `insert into rowhook.webhook_logs
       (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, request_url, lane,
        duration_ms, webhook_name, organization, payload_format)
     select now(), 'acme', id, rowhook._delivery_id($1, id), $1, 'deal.won', 1, 'failed', 'timeout', url,
            rowhook._lane('acme'), 9000, name, '{"id":"acme"}', 'nested'
       from rowhook.webhook_configurations returning id::text, delivery_id`,
    [event],
  );
  return {
    org: ['me', 'acme'],
    id: [...webhooks, ...keys, event],
    delivery_id: rows.map((row) => row.delivery_id),
    log_id: rows.map(({ id }) => id),
    organization: ['acme', 'other'],
    resource: ['leads', 'lead.updated', 'deals'],
  };
}
