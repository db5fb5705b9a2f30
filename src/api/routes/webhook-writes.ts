/** Webhooks created, changed and deleted, whatever the dialect of a request is. */
import type { FastifyRequest } from 'fastify';
import type pg from 'pg';
import { readWebhook, type WebhookOverview } from '../../operations/webhooks/overview.ts';
import { templateProblem } from '../../operations/webhooks/preview.ts';
import { judgeUrl, webhookProblems } from '../../operations/webhooks/problems.ts';
import { type Columns, changeWebhook, insertWebhook, removeWebhook } from '../../operations/webhooks/webhooks.ts';
import { type FieldError, fieldOf, invalid, Problem } from '../problem.ts';
import { idOf } from '../schema.ts';
import type { Service } from '../service.ts';
import { type Change, columnsOf } from './webhook-fields.ts';

export async function create(
  tx: pg.ClientBase,
  organization: string,
  body: Change,
  service: Service,
): Promise<{ row: WebhookOverview; secret: string }> {
  const columns: Columns = [['tenant_id', organization], ...columnsOf(body, null)];
  await requireGood(tx, null, columns, service);
  const { id, secret } = await insertWebhook(tx, columns, 'webhooks');
  return { row: await readWebhook(tx, id), secret };
}

export async function update(
  tx: pg.ClientBase,
  params: { id: string },
  request: FastifyRequest,
  body: Change,
  service: Service,
): Promise<WebhookOverview> {
  const id = idOf(params, 'webhook');
  const stored = await readWebhook(tx, id, true);
  requireMatch(request, stored);
  const columns = columnsOf(body, stored);
  await requireGood(tx, stored, columns, service);
  if (columns.length > 0) await changeWebhook(tx, id, columns, 'webhooks');
  return readWebhook(tx, id);
}

export async function remove(tx: pg.ClientBase, params: { id: string }, request: FastifyRequest): Promise<void> {
  const id = idOf(params, 'webhook');
  requireMatch(request, await readWebhook(tx, id, true));
  await removeWebhook(tx, id, 'webhooks');
}

/** It names the settings, not the state. */
export const etagOf = ({ version }: WebhookOverview) => `"${version}"`;

/** If-Match is optional. With it, a change of a webhook that somebody else changed is refused. */
function requireMatch({ headers }: FastifyRequest, row: WebhookOverview): void {
  const wanted = headers['if-match'];
  if (wanted === undefined || wanted.trim() === '*') return;
  if (wanted.split(',').some((tag) => tag.trim() === etagOf(row))) return;
  throw new Problem('precondition_failed', 'The webhook was changed since you read it. Read it again.');
}

function tenantOf(columns: Columns, stored: WebhookOverview | null): unknown {
  return stored?.tenant_id ?? new Map(columns).get('tenant_id');
}

/** All problems at once: those of the database's rules, and of the daemon's address guard. */
async function requireGood(tx: pg.ClientBase, stored: WebhookOverview | null, columns: Columns, { settings }: Service) {
  const given = new Map<string, unknown>(columns);
  const template = given.get('payload_template');
  // The library knows more than the database, and names the place.
  const refused =
    typeof template === 'string' ? await templateProblem(String(tenantOf(columns, stored)), template) : null;
  const problems = await webhookProblems(tx, stored?.id ?? null, columns);
  const errors: FieldError[] = problems
    .filter(({ column }) => refused === null || column !== 'payload_template')
    .map(({ column, message }) => ({ field: fieldOf(column), message }));
  if (refused !== null) errors.push({ field: 'payload_template', message: `is refused: ${refused}` });
  const url = given.get('url');
  if (typeof url === 'string' && url !== stored?.url && !errors.some(({ field }) => field === 'target_url')) {
    const allowedIps = (given.get('allowed_ips') ?? stored?.allowed_ips) as string[] | null | undefined;
    const problem = judgeUrl(url, settings, allowedIps);
    if (problem) errors.push({ field: 'target_url', message: problem });
  }
  if (errors.length > 0) throw invalid(errors);
}
