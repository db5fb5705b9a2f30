/** The catalog: every event type with a JSON Schema and a sample of its data. */
import type pg from 'pg';

export interface CatalogRow {
  event_type: string;
  description: string | null;
  /** JSON text, in the order of the columns. */
  schema: string;
  /** JSON text. Null: nobody gave one. */
  sample: string | null;
}

/** Made-up data of an event type, as JSON text. */
export async function readSample(client: pg.ClientBase, tenantId: string, eventType: string): Promise<string> {
  const { rows } = await client.query<{ data: string | null }>('select rowhook._sample($1, $2)::text as data', [
    eventType,
    tenantId,
  ]);
  return rows[0]?.data ?? 'null';
}

/** What the caller may see, by name. */
export async function readCatalog(client: pg.ClientBase): Promise<CatalogRow[]> {
  const { rows } = await client.query<CatalogRow>(
    `select event_type, description, schema::text as schema, sample::text as sample
       from rowhook.event_types order by event_type collate "C"`,
  );
  return rows;
}
