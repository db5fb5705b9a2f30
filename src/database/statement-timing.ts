/** Measures the statements of a connection, which node-postgres itself does not do. */
import type pg from 'pg';

type Query = (...args: unknown[]) => unknown;

/**
 * After this call, `observe` gets the seconds of every statement of `client`, from the request to
 * the answer or the error.
 */
export function timeRoundTrips(client: pg.ClientBase, observe: (seconds: number) => void): void {
  const query = client.query.bind(client) as Query;
  const timed: Query = (...args) => {
    const askedAt = performance.now();
    const done = () => observe((performance.now() - askedAt) / 1_000);
    const callback = args.at(-1);
    // A pool passes a callback; all other callers wait for the promise.
    if (typeof callback !== 'function') {
      const answer = query(...args) as Promise<unknown>;
      answer.then(done, done);
      return answer;
    }
    return query(...args.slice(0, -1), (...answer: unknown[]) => {
      done();
      callback(...answer);
    });
  };
  client.query = timed as typeof client.query;
}
