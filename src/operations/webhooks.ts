import type pg from 'pg';
import { maskedUrl } from '../payload/mask.ts';
import { UserError } from '../shared/user-error.ts';

export interface WebhookRow {
  id: string;
  tenant_id: string;
  name: string;
  url: string;
  http_method: string;
  event_types: string[];
  secret: string;
  is_active: boolean;
  disabled_at: Date | null;
  disabled_reason: string | null;
  created_at: Date;
}

export function theOne<T>(rows: readonly T[], id: string): T {
  const row = rows[0];
  if (row === undefined) {
    throw new UserError(`webhook ${id} does not exist: "rowhook webhook list" shows those that do.`);
  }
  return row;
}

/** True if a daemon holds lanes, so new deliveries are sent at once. */
export async function daemonRuns(client: pg.Client): Promise<boolean> {
  const { rowCount } = await client.query('select from rowhook.webhook_lane_owners limit 1');
  return rowCount === 1;
}

const MASK = '***';

/**
 * Secrets are shown only once, when they are created. Headers, credentials and the values of a
 * URL's query are never shown.
 */
export function withoutSecrets(row: object): Record<string, unknown> {
  const masked = ['secret', 'previous_secret'];
  const maskedValues = ['auth_config', 'headers'];
  return Object.fromEntries(
    Object.entries(row).map(([column, value]) => {
      if (masked.includes(column)) return [column, value === null ? null : MASK];
      if (column === 'url') return [column, maskedUrl(String(value))];
      if (!maskedValues.includes(column)) return [column, value];
      return [column, Object.fromEntries(Object.keys(value ?? {}).map((key) => [key, MASK]))];
    }),
  );
}
