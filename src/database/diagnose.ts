/** Explains an error by asking the database whose setting or grant causes it. */
import type pg from 'pg';
import { displayDatabase } from '../connection/target.ts';
import { UserError } from '../shared/user-error.ts';
import { type CodedError, isOurs } from './explain-error.ts';
import { membershipOf, type Needed, uninheritedRole } from './membership.ts';
import { READ_ONLY, ReadOnlyDatabase, readOnlySetting } from './read-only.ts';

const INSUFFICIENT_PRIVILEGE = '42501';

/**
 * A sentence that the database's answer gives. Null: nothing to add. `needed` is the role whose
 * privileges the refused statements need.
 */
export async function explainByLooking(
  error: unknown,
  client: pg.Client,
  databaseUrl: string,
  needed: Needed,
): Promise<Error | null> {
  if (!needsLook(error)) return null;
  try {
    await client.query('rollback');
    return isReadOnly(error)
      ? await explainReadOnly(client, databaseUrl)
      : await explainRefusal(error as CodedError, client, databaseUrl, needed);
  } catch {
    // The connection is closed, so the error stays unexplained.
    return null;
  }
}

/** Whether the database can tell more about an error than the error itself. */
export function needsLook(error: unknown): boolean {
  const { code, routine } = (error ?? {}) as CodedError;
  // A function of rowhook that refuses names the remedy itself.
  return isReadOnly(error) || (code === INSUFFICIENT_PRIVILEGE && routine !== 'exec_stmt_raise');
}

export function isReadOnly(error: unknown): boolean {
  return (error as { code?: string } | null)?.code === READ_ONLY;
}

/** Null: the server is a standby, or may be written to by now. */
async function explainReadOnly(
  client: pg.Client,
  databaseUrl: string,
  otherwise?: string,
): Promise<ReadOnlyDatabase | null> {
  const setting = await readOnlySetting(client);
  return setting && new ReadOnlyDatabase(displayDatabase(databaseUrl), setting, otherwise);
}

/** Why target_session_attrs=read-write refuses a server, as psql does too. */
export function explainUnsuitable(client: pg.Client, databaseUrl: string): Promise<ReadOnlyDatabase | null> {
  return explainReadOnly(client, databaseUrl, 'Otherwise, connected without target_session_attrs');
}

async function explainRefusal(
  { message }: CodedError,
  client: pg.Client,
  databaseUrl: string,
  needed: Needed,
): Promise<Error | null> {
  const membership = await membershipOf(client);
  const { role, isOwner, isDaemon, mayBecomeOwner, grant } = membership;
  const because = (verdict: string, granted: Needed) =>
    new UserError(
      `${displayDatabase(databaseUrl)}: ${message}. ${role} is a member of ${granted}, but ${verdict}. ` +
        `Let a DBA run: ${grant(granted).replace(/;$/, '')}.`,
    );
  if (/ set role /.test(message))
    return isOwner && !mayBecomeOwner ? because('may not SET ROLE to it', 'rowhook_owner') : null;
  if (isOwner && /row-level security/.test(message))
    return new UserError(
      `${displayDatabase(databaseUrl)}: ${message}. ${role} is a member of rowhook_owner, so a policy is missing. ` +
        'Run "rowhook doctor".',
    );
  if (!isOurs(message)) return null;
  const uninherited = uninheritedRole(membership, needed);
  if (uninherited !== null) return because('does not inherit its privileges', uninherited);
  // A login with rowhook_owner would work too, and could do more than it needs.
  return needed === 'rowhook_daemon' && !isOwner && !isDaemon
    ? new UserError(`${displayDatabase(databaseUrl)}: ${message}. Connect as a member of rowhook_daemon.`)
    : null;
}
