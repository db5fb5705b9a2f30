import type pg from 'pg';

/**
 * Runs a statement whose parameters are secrets. A server that logs statements logs their parameters too; whoever may
 * change that (a superuser, or a role that was granted it) does so for this transaction, which a pooler may have lent.
 */
export async function unlogged<Row extends pg.QueryResultRow>(
  client: pg.Client,
  sql: string,
  values: readonly unknown[],
): Promise<pg.QueryResult<Row>> {
  await client.query('begin');
  try {
    await client.query(
      `select set_config('log_parameter_max_length', '0', true)
        where has_parameter_privilege('log_parameter_max_length', 'set')`,
    );
    // this one belongs to every role
    await client.query("select set_config('log_parameter_max_length_on_error', '0', true)");
    const result = await client.query<Row>(sql, [...values]);
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch(() => {}); // the first error says more
    throw error;
  }
}
