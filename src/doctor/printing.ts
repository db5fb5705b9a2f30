/**
 * Finds columns whose values are printed by a user-made cast to json, and whether rowhook_owner has
 * the rights that the cast may need.
 */
import { printable } from '../shared/terminal.ts';
import { type CheckResult, type Examination, fine } from './finding.ts';

interface Cast {
  relation: string;
  columns: string;
  function: string;
  /** The statement that grants what the cast may need. Null: rowhook_owner has it. */
  grants: string | null;
}

interface Thin {
  relation: string;
  reason: string;
  events: number;
}

/**
 * Limit on outbox rows to check, newest first. That covers some minutes, and reading by id takes
 * milliseconds.
 */
const NEWEST_ROWS = 5_000;

export async function printing({ client }: Examination): Promise<CheckResult[]> {
  const casts = await client.query<Cast>(
    `select rowhook._qualified(s.relation) as relation, c.columns, c.cast_function as function, c.grants
       from rowhook.webhook_sources s
      cross join lateral rowhook._json_casts(s.relation) as c
      order by 1, 3`,
  );
  const thin = await client.query<Thin>(
    `select rowhook._qualified(s.relation) as relation, o.truncated as reason, count(*)::int as events
       from (select source_id, truncated from rowhook.webhook_outbox order by id desc limit ${NEWEST_ROWS}) as o
       join rowhook.webhook_sources s on s.id = o.source_id
      where o.truncated <> 'too_large'
      group by s.relation, o.truncated
      order by 1, 2 limit 20`,
  );
  const results = [...casts.rows.map(castRemark), ...thin.rows.map(thinRemark)];
  return results.length > 0 ? results : [fine('the rows of all watched tables can be converted to JSON')];
}

function castRemark({ relation, columns, function: name, grants }: Cast): CheckResult {
  const printed = printable(`${relation} (${columns}) is converted to JSON by ${name}`);
  if (grants === null) return fine(`${printed}, and rowhook_owner has the rights for it`);
  return {
    kind: 'warning',
    what: `${printed}, which may need rights that rowhook_owner lacks`,
    why: 'Events of rows that it cannot convert contain only the key columns.',
    fix: printable(grants),
  };
}

function thinRemark({ relation, reason, events }: Thin): CheckResult {
  return {
    kind: 'warning',
    what: printable(`rows of ${relation} could not be converted to JSON: ${reason}`),
    why: `For this reason, ${events} of the last ${NEWEST_ROWS} changes contain only their key columns.`,
    fix: "let rowhook_owner do what the error names, or fix the type's cast to json or the column's expression",
  };
}
