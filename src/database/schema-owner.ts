/**
 * Everything in the schema belongs to rowhook_owner. A dump that another role restored may leave it
 * to that role: one that is not a member of rowhook_owner, or any with --no-owner. Row-level
 * security then hides every webhook from capture, and changes make no event, without an error.
 */
import type pg from 'pg';
import type { Finding } from '../shared/finding.ts';
import { printable } from '../shared/terminal.ts';
import { UserError } from '../shared/user-error.ts';

/** Objects that do not work with another owner. What else is in the schema is not judged. */
const OWNERS = `
  select n.nspowner as owner from pg_namespace n where n.nspname = 'rowhook'
  union
  select c.relowner from pg_class c
   where c.relnamespace = to_regnamespace('rowhook') and c.relforcerowsecurity
  union
  select p.proowner from pg_proc p where p.pronamespace = to_regnamespace('rowhook') and p.prosecdef`;

/** The statements that give a role's objects back, the schema first. */
const STATEMENTS = `
  select format('alter %s %s owner to rowhook_owner', kind, name) as statement
    from (select 'schema' as kind, 'rowhook' as name, nspowner as owner, 0 as turn
            from pg_namespace where nspname = 'rowhook'
          union all
          select case relkind when 'v' then 'view' when 'S' then 'sequence' when 'c' then 'type' else 'table' end,
                 c.oid::regclass::text, relowner, 1
            from pg_class c
           where relnamespace = 'rowhook'::regnamespace and relkind in ('r', 'p', 'v', 'S', 'c')
             -- A sequence that belongs to a column goes with its table.
             and not (relkind = 'S' and exists (select from pg_depend d
                       where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')))
          union all
          select 'routine', p.oid::regprocedure::text, proowner, 1
            from pg_proc p where pronamespace = 'rowhook'::regnamespace) as o
   where owner = any ($1::oid[])
   order by turn`;

export interface WrongOwner {
  finding: Finding;
  /** The same for the person who starts a process. */
  error: UserError;
}

/** Null: everything belongs to rowhook_owner, or rowhook is not installed. */
export async function wrongOwner(client: pg.ClientBase): Promise<WrongOwner | null> {
  const { names } = await otherOwners(client);
  const [first] = names;
  if (first === undefined) return null;
  const owners = names.join(', ');
  const grant = `grant rowhook_owner to ${owners};`;
  return {
    finding: {
      kind: 'error',
      what: printable(`objects of the schema rowhook belong to ${owners} instead of rowhook_owner`),
      why: 'Changes of watched tables make no event, and no error. The restore of a dump can leave this.',
      fix: printable(`${grant}   -- then, as ${first} or a superuser: rowhook migrate`),
    },
    error: new UserError(
      printable(
        `Objects of the schema rowhook belong to ${owners} instead of rowhook_owner. Changes make no event then. ` +
          `Let a DBA run: ${grant} then run "rowhook migrate" as ${first} or a superuser.`,
      ),
    ),
  };
}

/** Gives everything back to rowhook_owner, in one transaction. Returns the number of objects. */
export async function restoreOwner(client: pg.ClientBase): Promise<number> {
  const { ids } = await otherOwners(client);
  if (ids.length === 0) return 0;
  const { rows } = await client.query<{ statement: string }>(STATEMENTS, [ids]);
  try {
    // One string is one transaction.
    await client.query(rows.map(({ statement }) => statement).join(';'));
  } catch (error) {
    const problem = await wrongOwner(client);
    if ((error as { code?: string }).code !== INSUFFICIENT_PRIVILEGE || problem === null) throw error;
    throw problem.error;
  }
  return rows.length;
}

const INSUFFICIENT_PRIVILEGE = '42501';

/**
 * A schema of this name without the version is not one of rowhook, and nobody touches it. The
 * catalog answers: to_regprocedure() raises for a login that may not use the schema.
 */
async function otherOwners(client: pg.ClientBase): Promise<{ ids: string[]; names: string[] }> {
  const { rows } = await client.query<{ id: string; name: string }>(
    `select r.oid as id, quote_ident(r.rolname) as name
       from (${OWNERS}) as o
       join pg_roles r on r.oid = o.owner
      where r.rolname <> 'rowhook_owner'
        and exists (select from pg_proc p where p.pronamespace = to_regnamespace('rowhook')
                     and p.proname = 'schema_version' and p.pronargs = 0)
      order by 2`,
  );
  return { ids: rows.map(({ id }) => id), names: rows.map(({ name }) => name) };
}
