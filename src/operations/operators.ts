/** What operators see of all organizations. Each statement checks their key again. Returns values only. */
import type pg from 'pg';

export interface Organization {
  id: string;
  name: string | null;
  slug: string | null;
  max_in_flight: number | null;
  rate_limit_per_second: string | null;
  webhooks: number;
  active: number;
  failing: number;
  disabled: number;
  waiting: number;
  failed: number;
}

/** By id. One more than `limit` says that there are more. */
export async function readOrganizations(
  client: pg.ClientBase,
  keyHash: Buffer,
  { after, q, limit }: { after?: string | undefined; q?: string | undefined; limit: number },
): Promise<Organization[]> {
  const { rows } = await client.query<Organization>('select * from rowhook._organizations($1, $2, $3, $4)', [
    keyHash,
    after,
    q,
    limit + 1,
  ]);
  return rows;
}

export type OrganizationSettings = Pick<Organization, 'name' | 'slug' | 'max_in_flight'> & {
  rate_limit_per_second: number | null;
};

export async function putOrganization(
  client: pg.ClientBase,
  keyHash: Buffer,
  id: string,
  { name, slug, max_in_flight, rate_limit_per_second }: OrganizationSettings,
): Promise<void> {
  await client.query('select rowhook._put_organization($1, $2, $3, $4, $5, $6)', [
    keyHash,
    id,
    name,
    slug,
    max_in_flight,
    rate_limit_per_second,
  ]);
}

/** JSON text. */
export async function readStatusFor(client: pg.ClientBase, keyHash: Buffer): Promise<string> {
  const { rows } = await client.query<{ status: string }>('select rowhook._status($1)::text as status', [keyHash]);
  return rows[0]?.status as string;
}
