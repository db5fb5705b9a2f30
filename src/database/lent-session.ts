/**
 * A connection whose session is lent for a transaction, by a pooler. What a transaction leaves behind there is gone in the next
 * one, and found by strangers. So no statement has a name, and settings are made for one transaction.
 */
import type pg from 'pg';

type Query = (...args: unknown[]) => Promise<unknown>;

const BEGIN = /^\s*(begin|start transaction)\b[^;]*/i;

/**
 * From here on every transaction of `client` begins with `settings` (forOneTransaction); a statement by itself gets a transaction
 * around it. Without settings nothing is added.
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
    // 'I': no transaction is open
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

/** One at a time. A pool asks with a callback, everybody else waits for the promise. */
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

/** A statement that was prepared in one session is unknown in the next one, or is somebody else's. */
function withoutName(statement: unknown): unknown {
  if (typeof statement !== 'object' || statement === null) return statement;
  const { name: _, ...unnamed } = statement as pg.QueryConfig;
  return unnamed;
}
