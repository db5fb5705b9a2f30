import type pg from 'pg';

/**
 * Runs a statement whose parameters are secrets. A server that logs statements also logs their
 * parameters. A superuser, or a role with the grant, turns that off for this transaction. The
 * setting is limited to the transaction because a pooler may have lent the session.
 */
export async function unlogged<Row extends pg.QueryResultRow>(
  client: pg.ClientBase,
  sql: string,
  values: readonly unknown[],
): Promise<pg.QueryResult<Row>> {
  // 'T': the caller has a transaction, which it ends itself.
  if (client.getTransactionStatus() === 'T') {
    await turnOff(client);
    return client.query<Row>(sql, [...values]);
  }
  await client.query('begin');
  try {
    await turnOff(client);
    const result = await client.query<Row>(sql, [...values]);
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch(() => {}); // The first error says more.
    throw error;
  }
}

async function turnOff(client: pg.ClientBase): Promise<void> {
  await client.query(
    `select set_config('log_parameter_max_length', '0', true)
      where has_parameter_privilege('log_parameter_max_length', 'set')`,
  );
  // Every role may change this setting.
  await client.query("select set_config('log_parameter_max_length_on_error', '0', true)");
}
