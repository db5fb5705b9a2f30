/** Reads who changed which setting of which webhook. Returns values only. */
import type pg from 'pg';
import { Conditions, type Key, type Page, readPage } from '../page.ts';

export interface WebhookChange {
  id: string;
  changed_at: Date;
  webhook_id: string;
  webhook_name: string;
  /** created, changed or deleted. */
  action: string;
  changed_by: string;
  /** The changed settings, with secrets masked. */
  changes: Record<string, { old: unknown; new: unknown }>;
}

const columnsOf = (alias: string) =>
  ['id', 'changed_at', 'webhook_id', 'webhook_name', 'action', 'changed_by', 'changes']
    .map((column) => `${alias}.${column}`)
    .join(', ');

/** The changes of a tenant's webhooks, newest first. */
export function readChanges(
  client: pg.ClientBase,
  tenantId: string,
  webhookId: string | undefined,
  page: { limit: number; cursor?: Key | undefined },
): Promise<Page<WebhookChange>> {
  return readPage<WebhookChange>(
    client,
    {
      columns: columnsOf('c'),
      large: { shown: columnsOf('l'), bytes: 'octet_length(l.changes::text)' },
      from: 'rowhook.webhook_changes c',
      indexed: new Conditions().add('c.tenant_id = $', tenantId),
      time: { column: 'c.changed_at', isOrder: true },
      id: { column: 'c.id', type: 'bigint' },
      filters: [['l.webhook_id = $', webhookId]],
    },
    page,
  );
}
