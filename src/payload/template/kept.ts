/**
 * Templates by their hash. The body of a delivery has the same bytes on every attempt and replay,
 * so the text of a template is kept as long as a row of webhook_logs names it: a template in use is
 * noted at least once an hour, and it is deleted when its last use is older than the log.
 */
import type pg from 'pg';
import type { Template } from '../formats.ts';

const KEEP = `
  insert into rowhook.webhook_templates (tenant_id, hash, template, content_type)
  values ($1, $2, $3, $4)
  on conflict (tenant_id, hash) do update set used_at = now()`;

const NOTE = 'update rowhook.webhook_templates set used_at = now() where tenant_id = $1 and hash = $2';

export async function keepTemplate(client: pg.Pool, tenantId: string, template: Template): Promise<void> {
  await client.query(KEEP, [tenantId, template.hash, template.text, template.contentType]);
}

export async function noteTemplate(client: pg.Pool, tenantId: string, hash: string): Promise<void> {
  await client.query(NOTE, [tenantId, hash]);
}

export async function findTemplate(
  client: pg.Pool | pg.ClientBase,
  tenantId: string,
  hash: string,
): Promise<Pick<Template, 'text' | 'contentType'> | null> {
  const { rows } = await client.query<Pick<Template, 'text' | 'contentType'>>(
    `select template as text, content_type as "contentType"
       from rowhook.webhook_templates where tenant_id = $1 and hash = $2`,
    [tenantId, hash],
  );
  return rows[0] ?? null;
}
