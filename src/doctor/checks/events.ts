/**
 * Compares the event types of webhooks with those of watched tables, and finds rows without a
 * tenant.
 */
import type pg from 'pg';
import { readUnknownFilterColumns, unknownColumnText } from '../../capture/unknown-filter-columns.ts';
import { readUnproduced, type Unproduced } from '../../capture/unproduced-events.ts';
import type { Finding } from '../../shared/finding.ts';
import { shellWord } from '../../shared/shell-quote.ts';
import { printable } from '../../shared/terminal.ts';
import { type CheckResult, type Examination, fine } from '../finding.ts';

/** Limit on listed webhooks. With 10,000 webhooks, nobody reads a line for each. */
const LISTED_MAX = 5;

export async function events({ client }: Examination): Promise<CheckResult[]> {
  const findings = [
    ...(await unproduced(client)),
    ...(await unknownColumns(client)),
    ...(await shared(client)),
    ...(await withoutTenant(client)),
  ];
  return findings.length > 0 ? findings : [fine('watched tables produce what active webhooks want')];
}

async function unproduced(client: pg.ClientBase): Promise<Finding[]> {
  const found = await readUnproduced(client, null);
  const listed = found.slice(0, LISTED_MAX).map(finding);
  if (found.length > LISTED_MAX) {
    listed.push({
      kind: 'warning',
      what: `${found.length - LISTED_MAX} more webhooks want event types that no watched table produces`,
      why: 'They get no such event, and no error either, unless the application emits it.',
      fix: 'rowhook webhook list',
    });
  }
  return listed;
}

function finding({ id, tenantId, name, eventTypes, unproduced: missing, near }: Unproduced): Finding {
  const wanted = near === null ? [] : eventTypes.map((type) => (type === missing[0] ? near : type));
  // The other event types stay, because the application may emit them.
  const force = missing.length > 1 ? ' --force' : '';
  return {
    kind: 'warning',
    what: printable(`webhook "${name}" of ${tenantId} wants ${missing.join(', ')}, which no watched table produces`),
    why: 'It gets no such event, and no error either, unless the application emits it.',
    fix:
      near === null
        ? `rowhook sources   # lists the event types; then: rowhook webhook update ${id} --events …`
        : `rowhook webhook update ${id} --events ${shellWord(printable([...new Set(wanted)].join(',')))}${force}`,
  };
}

/** A filter that SQL or an application wrote, or whose column the table has lost since. */
async function unknownColumns(client: pg.ClientBase): Promise<Finding[]> {
  const found = await readUnknownFilterColumns(client, { countReceiving: false });
  return found.slice(0, LISTED_MAX).map((column) => ({
    kind: 'warning',
    what: printable(`the filter of webhook "${column.name}" of ${column.tenantId} names ${unknownColumnText(column)}`),
    why: 'A condition on a column that an event does not have usually lets no event pass, and nothing is logged.',
    fix: `rowhook webhook show ${column.id}   # its filter; then: rowhook webhook update ${column.id} --filter …`,
  }));
}

/**
 * Finds two tables with the same event types that nobody chose: their prefix is the name of both
 * tables.
 */
async function shared(client: pg.ClientBase): Promise<Finding[]> {
  const { rows } = await client.query<{ relation: string; other: string; event_type: string; statement: string }>(
    `select distinct on (greatest(s.relation, o.relation)) rowhook._qualified(s.relation) as relation,
            rowhook._qualified(o.relation) as other, o.event_type, rowhook._renamed_statement(s) as statement
       from rowhook.webhook_sources s
      cross join lateral rowhook._shares_events(s) as o
      where s.parent_id is null and s.prefix = rowhook._default_prefix(s.relation) and s.prefix = rowhook._default_prefix(o.relation)
        and s.prefix in (select prefix from rowhook.webhook_sources group by prefix having count(*) > 1)
      order by greatest(s.relation, o.relation), s.id desc`,
  );
  return rows.map(({ relation, other, event_type, statement }) => ({
    kind: 'warning',
    what: printable(`${relation} and ${other} have the same event types, such as ${event_type}`),
    why: 'A webhook gets the events of both tables and cannot tell them apart.',
    fix: printable(statement),
  }));
}

async function withoutTenant(client: pg.ClientBase): Promise<Finding[]> {
  const { rows } = await client.query<{ changes: number; tables: string[]; statements: string }>(
    `select coalesce(pg_sequence_last_value('rowhook.rows_without_tenant'), 0)::float8 as changes,
            array_agg(rowhook._qualified(s.relation) order by s.id) as tables,
            string_agg(format('alter table %s alter column %I set not null;',
                              rowhook._qualified(s.relation), s.tenant_column), ' ' order by s.id) as statements
       from rowhook.webhook_sources s
      where rowhook._tenant_may_be_null(s)`,
  );
  const { changes, tables, statements } = rows[0] as (typeof rows)[number];
  if (changes === 0 || tables === null) return [];
  return [
    {
      kind: 'warning',
      what: printable(
        `at least ${changes} changed rows had no tenant. The tenant column of ${tables.join(', ')} may be null`,
      ),
      why:
        'If the tenant column of a row is null, its changes make no event. The count is of all tables together, ' +
        'also of tables that were watched with other settings.',
      fix: printable(
        `${statements}   -- once every row has a tenant. ` +
          "If null is intended: select setval('rowhook.rows_without_tenant', 1, false); resets the count",
      ),
    },
  ];
}
