/** The cost of capture: measured if the server counts function time, otherwise estimated. */
import type pg from 'pg';
import { printable } from '../../shared/terminal.ts';
import { type CheckResult, type Examination, fine, type Limits } from '../finding.ts';

/**
 * Capture adds 80 to 140 µs to an INSERT or DELETE of one row, 130 to 210 µs to an UPDATE
 * (`test/bench/capture.ts`), and 10 to 35 µs to each row of a bulk statement.
 */
const ROW_US = 100;

interface Cost {
  relation: string;
  /**
   * Upper limit of rows captured since the table was watched: the rows changed there, or the rows
   * captured anywhere.
   */
  captured: number;
  /** Seconds in statements of this database since then. */
  statementSeconds: number;
  /** Seconds in the capture function. Null: the server does not count. */
  measuredSeconds: number | null;
  calls: number | null;
  /** The statement that watches the table with the same settings, for new rows only. */
  statement: string;
}

/** All counts begin when the table was watched, so their ratio needs no clock. */
export async function captureCost({ client, limits }: Examination): Promise<CheckResult[]> {
  return (await readCosts(client)).filter(({ captured }) => captured > 0).map((cost) => result(cost, limits));
}

function result(
  { relation, captured, statementSeconds, measuredSeconds, calls, statement }: Cost,
  limits: Limits,
): CheckResult {
  const seconds = measuredSeconds ?? (captured * ROW_US) / 1e6;
  const share = statementSeconds > 0 ? Math.min(1, seconds / statementSeconds) : 0;
  const how =
    measuredSeconds === null
      ? `estimated: ${captured} rows or fewer, ${ROW_US} µs per row`
      : `measured: ${captured} rows or fewer, ${seconds.toFixed(1)} s in ${calls} calls`;
  const percent = `${(share * 100).toFixed(1)} %`;
  const what = printable(`capture on ${relation} took about ${percent} of all statement time (${how})`);
  if (share <= limits.captureShare || seconds < limits.captureSeconds) return fine(what);
  return {
    kind: 'warning',
    what,
    why: "Capture runs inside the application's statements and makes them slower.",
    fix: printable(`${statement}   -- or list the events that you need: created, updated, deleted`),
  };
}

/**
 * The server counts all changed rows, captured or not, and a session reports its counts up to 10 s
 * late. The outbox gives ids to captured rows of all tables, without delay. A count below its value
 * when the table was watched has been reset.
 */
async function readCosts(client: pg.ClientBase): Promise<Cost[]> {
  const { rows } = await client.query<Cost>(
    `select rowhook._qualified(s.relation) as relation,
            least(rowhook._grown(s, 'changes', now), rowhook._grown(s, 'outbox_id', now)) as captured,
            rowhook._grown(s, 'active_ms', now) / 1000 as "statementSeconds",
            f.total_time / 1000 as "measuredSeconds", f.calls::float8 as calls,
            rowhook._watch_statement(jsonb_populate_record(s, '{"events":["created"]}'), s.relation) as statement
       from rowhook.webhook_sources s
       join pg_class c on c.oid = s.relation
      cross join lateral rowhook._counts_of(s.relation) as now
       left join pg_stat_user_functions f on f.funcid = to_regproc('rowhook._capture_' || s.id)
      order by 1`,
  );
  return rows;
}
