/** The organization of a transaction, as its webhooks name it. Returns values only. */
import type pg from 'pg';

export interface OrganizationNames {
  id: string;
  name: string | null;
  slug: string | null;
}

/** For the tenant of the transaction: row-level security hides every other. A row is optional. */
export async function readOrganizationNames(client: pg.ClientBase, id: string): Promise<OrganizationNames> {
  const { rows } = await client.query<Pick<OrganizationNames, 'name' | 'slug'>>(
    'select name, slug from rowhook.webhook_tenants where id = $1',
    [id],
  );
  return { id, name: rows[0]?.name ?? null, slug: rows[0]?.slug ?? null };
}
