/**
 * Finds roles that were granted without their privileges: by GRANT … WITH INHERIT FALSE (PostgreSQL
 * 16), or to a login that is NOINHERIT. Such a login could use SET ROLE. rowhook never does,
 * because everything runs as the login.
 */
import type pg from 'pg';
import { printable } from '../shared/terminal.ts';

/** The daemon's role. rowhook_owner has its privileges too, and those of every command. */
export type Needed = 'rowhook_daemon' | 'rowhook_owner';

export interface Membership {
  /** The login's role, quoted as an identifier. */
  role: string;
  isOwner: boolean;
  isDaemon: boolean;
  /** Whether SET ROLE rowhook_owner is allowed. Migrations need that too. */
  mayBecomeOwner: boolean;
  /** Roles of rowhook that the login is a member of, without their privileges. */
  uninherited: readonly Needed[];
  /** The statement that grants a role of rowhook together with its privileges. */
  grant(granted: Needed): string;
}

export async function membershipOf(client: pg.ClientBase): Promise<Membership> {
  const { rows } = await client.query<{
    role: string;
    owner: boolean;
    daemon: boolean;
    may_become_owner: boolean;
    uninherited: Needed[];
    by_grant: boolean;
    inherits: boolean;
  }>(
    `select quote_ident(current_user) as role, rolinherit as inherits, v.by_grant,
            pg_has_role(g.owner, 'usage') as owner, pg_has_role(g.daemon, 'usage') as daemon,
            pg_has_role(g.owner, case when v.by_grant then 'set' else 'member' end) as may_become_owner,
            array(select u.name from (values ('rowhook_daemon', g.daemon), ('rowhook_owner', g.owner)) as u (name, oid)
                   where pg_has_role(u.oid, 'member') and not pg_has_role(u.oid, 'usage')) as uninherited
       from pg_roles,
            (select to_regrole('rowhook_owner')::oid as owner, to_regrole('rowhook_daemon')::oid as daemon) as g,
            (select current_setting('server_version_num')::int >= 160000 as by_grant) as v
      where rolname = current_user`,
  );
  const found = rows[0] as (typeof rows)[number];
  const role = printable(found.role);
  return {
    role,
    isOwner: found.owner,
    isDaemon: found.daemon,
    mayBecomeOwner: found.may_become_owner,
    uninherited: found.uninherited,
    grant: (granted) =>
      found.by_grant
        ? `grant ${granted} to ${role} with inherit true${granted === 'rowhook_owner' ? ', set true' : ''};`
        : `grant ${granted} to ${role};${found.inherits ? '' : ` alter role ${role} inherit;`}`,
  };
}

/**
 * The role whose privileges the login lacks although it is a member: `needed` if it is one of
 * several. Null: it inherits what it is a member of.
 */
export function uninheritedRole(
  { isOwner, isDaemon, uninherited }: Membership,
  needed: Needed = 'rowhook_daemon',
): Needed | null {
  if (isOwner) return null;
  const candidates = isDaemon ? uninherited.filter((name) => name === needed) : uninherited;
  return candidates.find((name) => name === needed) ?? candidates[0] ?? null;
}

/** What to do about a part that this login may not read. */
export async function remedyOfUnseen(client: pg.ClientBase): Promise<string> {
  const membership = await membershipOf(client);
  const lacking = uninheritedRole(membership);
  return lacking === null
    ? 'connect as a role that is a member of rowhook_daemon or rowhook_owner'
    : membership.grant(lacking);
}
