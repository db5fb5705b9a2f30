/** Lists the columns that are never sent, and keys that look like credentials. */

import { printable } from '../shared/terminal.ts';
import { type CheckResult, type Examination, fine } from './finding.ts';

interface Row {
  relation: string;
  excluded: string[];
  /** Columns of the key, or the tenant column, that look like credentials. */
  exposed: string[];
  statement: string;
}

export async function excludedColumns({ client }: Examination): Promise<CheckResult[]> {
  const { rows } = await client.query<Row>(
    `select rowhook._qualified(s.relation) as relation,
            rowhook._columns_among(s.relation, s.exclude_columns) as excluded,
            e.columns as exposed,
            rowhook._watch_statement(i, i.relation) as statement
       from rowhook.webhook_sources s
      cross join lateral (select rowhook._exposed_columns(s)) as e (columns)
      cross join lateral jsonb_populate_record(s, jsonb_build_object(
              'include_columns', s.include_columns || e.columns)) as i
      order by s.id`,
  );
  const listed = rows.filter(({ excluded }) => excluded.length > 0);
  const text = listed.map(({ relation, excluded }) => `${relation} (${excluded.join(', ')})`).join(', ');
  return [
    fine(text === '' ? 'no column of a watched table is excluded' : printable(`excluded columns: ${text}`)),
    ...rows.filter(({ exposed }) => exposed.length > 0).map(finding),
  ];
}

function finding({ relation, exposed, statement }: Row): CheckResult {
  return {
    kind: 'warning',
    what: printable(`${relation}: ${exposed.join(', ')} looks like a credential, and every event contains it`),
    why: 'The key and the tenant of a row cannot be excluded.',
    fix: remedyOf(statement),
  };
}

function remedyOf(statement: string): string {
  return `${printable(statement)}   -- if it is not a credential; otherwise give the table another key`;
}
