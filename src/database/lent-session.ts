/**
 * A connection through a pooler, which lends a session for one transaction. State that a
 * transaction leaves in the session is missing in the next transaction, and visible to other
 * clients. So no statement has a name, and settings are set for one transaction only.
 */
import type pg from 'pg';

type Query = (...args: unknown[]) => Promise<unknown>;

const BEGIN = /^\s*(begin|start transaction)\b[^;]*/i;

/**
 * For a statement whose plan looks costly and is quick. Spread it into the query. In a lent session
 * it gets a transaction with all settings.
 */
export const COSTLY = { isCostly: true };

/**
 * After this call, every transaction of `client` begins with `settings` (forOneTransaction). A single
 * statement is wrapped in a transaction if `wraps` says that all need it, or if it is COSTLY. If
 * `settings` is empty, nothing is added.
 */
export function makeLent(client: pg.ClientBase, settings: string, wraps: boolean): void {
  const query = client.query.bind(client) as unknown as Query;
  const nameless: Query = (statement, ...rest) => query(withoutName(statement), ...rest);
  const all = settings === '' ? nameless : inTurn(withSettings(client, nameless, settings, wraps));
  client.query = all as typeof client.query;
}

function withSettings(client: pg.ClientBase, query: Query, settings: string, wraps: boolean): Query {
  const needsNone = (statement: unknown) => !wraps && !(statement as Partial<typeof COSTLY>).isCostly;
  return async (statement, ...rest) => {
    if (typeof statement === 'string' && BEGIN.test(statement)) {
      const began = statement.replace(BEGIN, (begin) => `${begin}; ${settings}`);
      return query(began, ...rest);
    }
    // 'I': no transaction is open.
    if (client.getTransactionStatus() !== 'I' || needsNone(statement)) return query(statement, ...rest);
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
