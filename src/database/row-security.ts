/**
 * Row-level security of rowhook's tables, as the catalog shows it. PostgreSQL's own hint for a dump
 * (`alter table … no force row level security`) switches it off, and a restore that was interrupted
 * leaves tables without policies. Nothing fails at that moment: tenants see each other's rows, or a
 * daemon sees none.
 */
import type pg from 'pg';
import type { Finding } from '../shared/finding.ts';
import { printable } from '../shared/terminal.ts';
import { UserError } from '../shared/user-error.ts';
import type { Needed } from './membership.ts';

/**
 * Tables and partitions whose policies do not hold, or not for their owner. A restore that ended before
 * its last part leaves them without policies too. A table of somebody else in this schema is not judged.
 */
const OPEN = `
  select c.relname
    from pg_class c
   where c.relnamespace = to_regnamespace('rowhook') and c.relkind in ('r', 'p')
     and c.relowner = to_regrole('rowhook_owner')
     and not (c.relrowsecurity and c.relforcerowsecurity)
     and (c.relname ~ '^webhook_' or exists (select from pg_policy p where p.polrelid = c.oid))
   order by 1`;

/** Tables and partitions with row-level security on which one of the roles $1 has a privilege, and no policy. */
const LACKING = `
  select distinct t.relname
    from pg_class t
   cross join lateral (
         select t.relowner as role
         union
         select grantee from aclexplode(t.relacl)
         union
         select x.grantee from pg_attribute a cross join lateral aclexplode(a.attacl) as x where a.attrelid = t.oid
         ) as g
    join pg_roles r on r.oid = g.role
   where t.relnamespace = to_regnamespace('rowhook') and t.relkind in ('r', 'p') and t.relrowsecurity
     and t.relowner = to_regrole('rowhook_owner')
     and r.rolname = any ($1)
     and not exists (select from pg_policy p
                      where p.polrelid = t.oid and (g.role = any (p.polroles) or 0 = any (p.polroles)))
   order by 1`;

/** Limit on the tables that a sentence names. */
const LISTED_MAX = 3;

async function openTables(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ relname: string }>(OPEN);
  return rows.map(({ relname }) => relname);
}

async function withoutPolicies(client: pg.ClientBase, roles: readonly Needed[]): Promise<string[]> {
  const { rows } = await client.query<{ relname: string }>(LACKING, [roles]);
  return rows.map(({ relname }) => relname);
}

/** Null: row-level security holds on every table of rowhook. */
export async function openTablesFinding(client: pg.ClientBase): Promise<Finding | null> {
  const open = await openTables(client);
  if (open.length === 0) return null;
  return {
    kind: 'error',
    what: printable(`row-level security is off, or not forced, on ${listed(open)}`),
    why: 'Logins of the application may see and change the rows of every tenant there.',
    fix: 'rowhook migrate   # as a member of rowhook_owner: it switches row-level security on again',
  };
}

/** Null: every table of rowhook has its policies. */
export async function missingPoliciesFinding(client: pg.ClientBase): Promise<Finding | null> {
  const lacking = await withoutPolicies(client, ['rowhook_owner', 'rowhook_daemon']);
  if (lacking.length === 0) return null;
  return {
    kind: 'error',
    what: printable(`policies are missing on ${listed(lacking)}`),
    why: 'Capture, daemons and the API cannot use these tables. A restore that was interrupted can leave this.',
    fix: 'restore the dump again, into a new and empty database',
  };
}

/**
 * Rejects for a person who starts a process that could not work. The policies of the owner are those
 * that every table has. A grant that somebody added for rowhook_daemon must not stop deliveries.
 */
export async function requirePolicies(client: pg.ClientBase): Promise<void> {
  const lacking = await withoutPolicies(client, ['rowhook_owner']);
  if (lacking.length === 0) return;
  throw new UserError(
    printable(
      `The schema rowhook is not complete: policies are missing on ${listed(lacking)}. A restore that was ` +
        'interrupted can leave this. Restore the dump again, into a new and empty database.',
    ),
  );
}

/** Rejects before the API answers strangers. */
export async function requireRowSecurity(client: pg.ClientBase): Promise<void> {
  const open = await openTables(client);
  if (open.length === 0) return;
  throw new UserError(
    printable(
      `Row-level security is off, or not forced, on ${listed(open)}, so a tenant could see the rows of others. ` +
        'Run "rowhook migrate" as a member of rowhook_owner: it switches it on again.',
    ),
  );
}

/** Switches row-level security on where it is off. Returns the number of tables. */
export async function restoreRowSecurity(client: pg.ClientBase): Promise<number> {
  const open = await openTables(client);
  if (open.length === 0) return 0;
  const { rows } = await client.query<{ statement: string }>(
    `select format('alter table rowhook.%I enable row level security, force row level security', name) as statement
       from unnest($1::text[]) as name`,
    [open],
  );
  // One string is one transaction.
  await client.query(rows.map(({ statement }) => statement).join(';'));
  return open.length;
}

function listed(tables: readonly string[]): string {
  const more = tables.length - LISTED_MAX;
  return `${tables.slice(0, LISTED_MAX).join(', ')}${more > 0 ? ` and ${more} more` : ''} of the schema rowhook`;
}
