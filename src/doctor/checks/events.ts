/**
 * Compares the event types of webhooks with those of watched tables, and finds rows without a
 * tenant.
 */
import type pg from 'pg';
import { readUnproduced, type Unproduced } from '../../capture/unproduced-events.ts';
import type { Finding } from '../../shared/finding.ts';
import { shellWord } from '../../shared/shell-quote.ts';
import { printable } from '../../shared/terminal.ts';
import { type Examination, fine, type Remark } from '../finding.ts';

/** Limit on listed webhooks. With 10,000 webhooks, nobody reads a line for each. */
const LISTED_MAX = 5;

export async function events({ client }: Examination): Promise<Remark[]> {
  const findings = [...(await unproduced(client)), ...(await shared(client)), ...(await withoutTenant(client))];
  return findings.length > 0 ? findings : [fine('all that active webhooks ask for is produced')];
}

async function unproduced(client: pg.ClientBase): Promise<Finding[]> {
  const found = await readUnproduced(client, null);
  const listed = found.slice(0, LISTED_MAX).map(finding);
  if (found.length > LISTED_MAX) {
    listed.push({
      kind: 'warning',
      what: `${found.length - LISTED_MAX} more webhooks ask for event types that nothing produces`,
      why: 'They wait for these in silence.',
      mend: 'rowhook webhook list',
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
    what: printable(`webhook "${name}" of ${tenantId} asks for ${missing.join(', ')}, which no watched table produces`),
    why: 'It waits for that in silence, unless the application emits it.',
    mend:
      near === null
        ? `rowhook sources   # lists what is produced; then rowhook webhook update ${id} --events …, or watch its table`
        : `rowhook webhook update ${id} --events ${shellWord(printable([...new Set(wanted)].join(',')))}${force}`,
  };
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
      where s.prefix = rowhook._default_prefix(s.relation) and s.prefix = rowhook._default_prefix(o.relation)
        and s.prefix in (select prefix from rowhook.webhook_sources group by prefix having count(*) > 1)
      order by greatest(s.relation, o.relation), s.id desc`,
  );
  return rows.map(({ relation, other, event_type, statement }) => ({
    kind: 'warning',
    what: printable(`${relation} and ${other} have the same event types, such as ${event_type}`),
    why: 'A webhook gets those of both, and cannot tell them apart.',
    mend: printable(statement),
  }));
}

async function withoutTenant(client: pg.ClientBase): Promise<Finding[]> {
  const { rows } = await client.query<{ changes: number; tables: string[]; statements: string }>(
    `select coalesce(pg_sequence_last_value('rowhook.rows_without_tenant'), 0)::float8 as changes,
            array_agg(rowhook._qualified(s.relation) order by s.id) as tables,
            string_agg(format('alter table %s alter column %I set not null;', rowhook._qualified(s.relation), s.tenant_column), ' ' order by s.id) as statements
       from rowhook.webhook_sources s
      where rowhook._tenant_may_be_null(s)`,
  );
  const { changes, tables, statements } = rows[0] as (typeof rows)[number];
  if (changes === 0 || tables === null) return [];
  return [
    {
      kind: 'warning',
      what: printable(`${changes} changes or more were of rows without a tenant, in ${tables.join(' or ')}`),
      why: "A row whose tenant column is null is nobody's, so its changes become no event.",
      mend: printable(
        `${statements}   -- once no row is null there; if null is meant: select setval('rowhook.rows_without_tenant', 1, false); counts anew`,
      ),
    },
  ];
}
