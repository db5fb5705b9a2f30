/**
 * Finds roles that were granted without their privileges: by GRANT … WITH INHERIT FALSE (PostgreSQL
 * 16), or to a login that is NOINHERIT. Such a login could use SET ROLE. rowhook never does,
 * because everything runs as the login.
 */
import type pg from 'pg';
import { printable } from '../shared/terminal.ts';

export interface Membership {
  /** The login's role, quoted as an identifier. */
  role: string;
  isOwner: boolean;
  isDaemon: boolean;
  /** A role of rowhook that the login is a member of, without its privileges. */
  uninherited: string | null;
  /** The statement that grants a role of rowhook together with its privileges. */
  grant(granted: string): string;
}

export async function membershipOf(client: pg.ClientBase): Promise<Membership> {
  const { rows } = await client.query<{
    role: string;
    owner: boolean;
    daemon: boolean;
    uninherited: string | null;
    by_grant: boolean;
    inherits: boolean;
  }>(
    `select quote_ident(current_user) as role, rolinherit as inherits,
            pg_has_role(g.owner, 'usage') as owner, pg_has_role(g.daemon, 'usage') as daemon,
            case when pg_has_role(g.daemon, 'member') then 'rowhook_daemon'
                 when pg_has_role(g.owner, 'member') then 'rowhook_owner' end as uninherited,
            current_setting('server_version_num')::int >= 160000 as by_grant
       from pg_roles,
            (select to_regrole('rowhook_owner')::oid as owner,
                    to_regrole('rowhook_daemon')::oid as daemon) as g
      where rolname = current_user`,
  );
  const found = rows[0] as (typeof rows)[number];
  const role = printable(found.role);
  return {
    role,
    isOwner: found.owner,
    isDaemon: found.daemon,
    uninherited: found.owner || found.daemon ? null : found.uninherited,
    grant: (granted) =>
      found.by_grant
        ? `grant ${granted} to ${role} with inherit true;`
        : `grant ${granted} to ${role};${found.inherits ? '' : ` alter role ${role} inherit;`}`,
  };
}
