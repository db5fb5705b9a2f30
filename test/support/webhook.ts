import type { TestDatabase } from './database.ts';

export interface TestWebhook {
  id: string;
  secret: string;
}

/** A webhook row; `columns` as in webhook_configurations. */
export async function createWebhook(
  database: TestDatabase,
  columns: { tenant_id: string; url: string } & Record<string, unknown>,
): Promise<TestWebhook> {
  const row = { name: 'under test', event_types: ['*'], ...columns };
  const names = Object.keys(row);
  const [webhook] = await database.query<{ id: string; secret: string }>(
    `insert into rowhook.webhook_configurations (${names.join(', ')})
     values (${names.map((_, index) => `$${index + 1}`).join(', ')}) returning id, secret`,
    Object.values(row),
  );
  return webhook as TestWebhook;
}
