/** What capture costs, measured where the server counts functions, else estimated. */
import type pg from 'pg';
import { printable } from '../table.ts';
import { type Examination, fine, type Limits, type Remark, WATCH_REPLACES } from './remark.ts';

/** An INSERT of one row takes 80 to 110 longer, an UPDATE 200 to 300, a row of a bulk statement 10 to 35: `test/bench/capture.ts`. */
const ROW_US = 100;

interface Cost {
  relation: string;
  changes: number;
  /** Seconds in the capture function; null: the server does not count. */
  measuredSeconds: number | null;
  calls: number | null;
}

/** Both counts begin with the database's statistics, so their ratio needs no clock. */
export async function captureCost({ client, limits }: Examination): Promise<Remark[]> {
  const { rows } = await client.query<{ seconds: number }>(
    'select coalesce(max(active_time), 0)::float8 / 1000 as seconds from pg_stat_database where datname = current_database()',
  );
  const statementSeconds = rows[0]?.seconds ?? 0;
  return (await readCosts(client))
    .filter(({ changes }) => changes > 0)
    .map((cost) => remark(cost, statementSeconds, limits));
}

function remark({ relation, changes, measuredSeconds, calls }: Cost, statementSeconds: number, limits: Limits): Remark {
  const seconds = measuredSeconds ?? (changes * ROW_US) / 1e6;
  const share = statementSeconds > 0 ? Math.min(1, seconds / statementSeconds) : 0;
  const how =
    measuredSeconds === null
      ? `some ${seconds.toFixed(1)} s of capture (estimated, ${ROW_US} µs a row)`
      : `${seconds.toFixed(1)} s of capture in ${calls} statements (measured)`;
  const what = printable(
    `${relation}: ${changes} changed rows, ${how}: ${(share * 100).toFixed(1)} % of this database's time in statements`,
  );
  if (share <= limits.captureShare || seconds < limits.captureSeconds) return fine(what);
  return {
    kind: 'warning',
    what,
    why: "Capture runs inside the application's own statements and makes them longer.",
    mend: printable(
      `select rowhook.watch('${relation}', events => '{created}');   ${WATCH_REPLACES}; set track_functions = 'pl' to measure`,
    ),
  };
}

async function readCosts(client: pg.ClientBase): Promise<Cost[]> {
  const { rows } = await client.query<Cost>(
    `select format('%I.%I', n.nspname, c.relname) as relation,
            (select coalesce(sum(t.n_tup_ins + t.n_tup_upd + t.n_tup_del), 0)::float8
               from rowhook._capture_relations(s.relation) as r
               join pg_stat_user_tables t on t.relid = r) as changes,
            f.total_time / 1000 as "measuredSeconds", f.calls::float8 as calls
       from rowhook.webhook_sources s
       join pg_class c on c.oid = s.relation
       join pg_namespace n on n.oid = c.relnamespace
       left join pg_stat_user_functions f on f.funcid = to_regproc('rowhook._capture_' || s.id)
      order by 1`,
  );
  return rows;
}
