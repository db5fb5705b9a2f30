/** Times the statements of a connection. node-postgres says nothing of them by itself. */
import type pg from 'pg';

type Query = (...args: unknown[]) => unknown;

/** From here on `observe` gets the seconds between asking and the answer, or the error, of every statement of `client`. */
export function timeRoundTrips(client: pg.ClientBase, observe: (seconds: number) => void): void {
  const query = client.query.bind(client) as Query;
  const timed: Query = (...args) => {
    const askedAt = performance.now();
    const done = () => observe((performance.now() - askedAt) / 1_000);
    const callback = args.at(-1);
    // a pool asks with a callback, everybody else waits for the promise
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
