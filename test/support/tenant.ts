import type pg from 'pg';
import type { TestDatabase } from './database.ts';

/** Works in one transaction as a role of the application, with the tenant set, as a request of the API does. */
export async function asTenant<T>(
  database: TestDatabase,
  tenant: string,
  work: (client: pg.PoolClient) => Promise<T>,
  role = 'rowhook_app',
): Promise<T> {
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    await client.query("select set_config('role', $1, true), set_config('rowhook.tenant_id', $2, true)", [
      role,
      tenant,
    ]);
    const result = await work(client);
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}

interface Node {
  'Node Type': string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  'Relation Name'?: string;
  Plans?: Node[];
}

/** The plans of all statements of `work`, node by node, with the numbers of rows that they looked at. */
export async function plansOf(
  client: pg.ClientBase,
  work: (client: pg.ClientBase) => Promise<unknown>,
): Promise<{ node: string; relation: string | undefined; rows: number }[]> {
  const nodes: Node[] = [];
  const watched = {
    // With the settings of that moment.
    query: async (text: string, values: unknown[]) => {
      if (!/set_config/.test(text)) {
        const { rows } = await client.query(`explain (analyze, format json) ${text}`, values);
        nodes.push(rows[0]['QUERY PLAN'][0].Plan);
      }
      return client.query(text, values);
    },
  };
  await work(watched as unknown as pg.ClientBase);
  const all: { node: string; relation: string | undefined; rows: number }[] = [];
  for (let node = nodes.pop(); node; node = nodes.pop()) {
    nodes.push(...(node.Plans ?? []));
    const rows = (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'];
    all.push({ node: node['Node Type'], relation: node['Relation Name'], rows });
  }
  return all;
}
