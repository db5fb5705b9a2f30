/** What the metrics count in the database, once a minute. Every daemon counts the same. */
import type pg from 'pg';
import { type InboundState, READ_INBOUND_STATE } from './inbound-state.ts';

/** Counting reads an index of all parked deliveries: 0.3 s for a million. */
export const COUNT_EVERY_MS = 60_000;

export interface Counts {
  /** Deliveries in webhook_deliveries, by state. */
  parked: { waiting: number; givenUp: number };
  /** Days after today that have a log partition. */
  logDaysAhead: number;
  /** Changes to rows without a tenant, in total. */
  rowsWithoutTenant: number;
  inbound: InboundState;
}

const PARKED = `
  select count(*) filter (where state = 'waiting')::float8 as waiting,
         count(*) filter (where state = 'given_up')::float8 as "givenUp"
    from rowhook.webhook_deliveries`;
const WITHOUT_TENANT = "select coalesce(pg_sequence_last_value('rowhook.rows_without_tenant'), 0)::float8 as rows";
const LOG_DAYS = 'select rowhook._log_days_ahead() as ahead';

export async function readCounts(pool: pg.Pool, queryMsMax: number): Promise<Counts> {
  const read = async <Row extends pg.QueryResultRow>(text: string): Promise<Row> => {
    const { rows } = await pool.query<Row>({ text, query_timeout: queryMsMax } as pg.QueryConfig);
    return rows[0] as Row;
  };
  return {
    logDaysAhead: (await read<{ ahead: number }>(LOG_DAYS)).ahead,
    parked: await read<Counts['parked']>(PARKED),
    rowsWithoutTenant: (await read<{ rows: number }>(WITHOUT_TENANT)).rows,
    inbound: await read<InboundState>(READ_INBOUND_STATE),
  };
}
