// What every peer does with an event: one POST with the headers that rowhook sends, and one row of a log.

import { Agent } from 'undici';

export interface Target {
  /** Of the database. */
  url: string;
  /** By the name of an endpoint. */
  origins: Record<string, string>;
  headers: Record<string, string>;
}

/** A row of peer_logs. */
export type LogRow = [event: string, status: number, durationMs: number, response: string];

export const LOG = {
  name: 'peer_log',
  text: 'insert into peer_logs (event, status, duration_ms, response) values ($1, $2, $3, $4)',
};

/** The same for many rows: one array for each column. */
export const LOGS = {
  name: 'peer_logs',
  text: `insert into peer_logs (event, status, duration_ms, response)
         select * from unnest($1::text[], $2::int[], $3::int[], $4::text[])`,
};

export const columnsOf = (rows: readonly LogRow[]): unknown[][] =>
  [0, 1, 2, 3].map((column) => rows.map((row) => row[column as 0]));

/** Returns what sends the row of an event to an endpoint, and says how that went. */
export function poster({ origins, headers }: Target): (endpoint: string, row: string) => Promise<LogRow> {
  const agent = new Agent({ connections: 64, pipelining: 1 });
  return async (endpoint, row) => {
    const startedAt = performance.now();
    const body = `{"type":"deal.created","timestamp":"${new Date().toISOString()}","data":${row}}`;
    const request = { origin: origins[endpoint] as string, path: '/hook', method: 'POST', headers, body } as const;
    const response = await agent.request(request);
    const text = await response.body.text();
    return [row.slice(0, 40), response.statusCode, Math.round(performance.now() - startedAt), text];
  };
}
