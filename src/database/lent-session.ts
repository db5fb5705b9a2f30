/**
 * A connection through a pooler, which lends a session for one transaction. State that a
 * transaction leaves in the session is missing in the next transaction, and visible to other
 * clients. So no statement has a name, and settings are set for one transaction only.
 */
import type pg from 'pg';

type Query = (...args: unknown[]) => Promise<unknown>;

const BEGIN = /^\s*(begin|start transaction)\b[^;]*/i;

/**
 * After this call, every transaction of `client` begins with `settings` (forOneTransaction), and a
 * single statement is wrapped in a transaction. If `settings` is empty, nothing is added.
 */
export function makeLent(client: pg.ClientBase, settings: string): void {
  const query = client.query.bind(client) as unknown as Query;
  const nameless: Query = (statement, ...rest) => query(withoutName(statement), ...rest);
  client.query = (settings === '' ? nameless : inTurn(withSettings(client, nameless, settings))) as typeof client.query;
}

function withSettings(client: pg.ClientBase, query: Query, settings: string): Query {
  return async (statement, ...rest) => {
    if (typeof statement === 'string' && BEGIN.test(statement)) {
      const began = statement.replace(BEGIN, (begin) => `${begin}; ${settings}`);
      return query(began, ...rest);
    }
    // 'I': no transaction is open.
    if (client.getTransactionStatus() !== 'I') return query(statement, ...rest);
    await query(`begin; ${settings}`);
    try {
      const result = await query(statement, ...rest);
      await query('commit');
      return result;
    } catch (error) {
      await query('rollback').catch(() => {});
      throw error;
    }
  };
}

/**
 * Runs one statement at a time. A pool passes a callback; all other callers wait for the promise.
 */
function inTurn(query: Query) {
  let last: Promise<unknown> = Promise.resolve();
  return (...args: unknown[]): Promise<unknown> | undefined => {
    const callback = args.at(-1);
    const turn = last.then(() => query(...(typeof callback === 'function' ? args.slice(0, -1) : args)));
    last = turn.catch(() => {});
    if (typeof callback !== 'function') return turn;
    turn.then(
      (result) => callback(undefined, result),
      (error) => callback(error),
    );
    return undefined;
  };
}

/**
 * A statement that was prepared in one session does not exist in the next session, or belongs to
 * somebody else there.
 */
function withoutName(statement: unknown): unknown {
  if (typeof statement !== 'object' || statement === null) return statement;
  const { name: _, ...unnamed } = statement as pg.QueryConfig;
  return unnamed;
}
