import pg from 'pg';

/** Runs `work` on a connection of its own. The connection is closed when `work` has ended. */
export async function connected<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url);
  // A test may kill the connection. Without a listener, the test process would end.
  client.on('error', () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
