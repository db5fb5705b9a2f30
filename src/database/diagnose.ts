/** Explains an error by asking the database whose setting or grant causes it. */
import type pg from 'pg';
import { displayDatabase } from '../connection/target.ts';
import { UserError } from '../shared/user-error.ts';
import { membershipOf } from './membership.ts';
import { READ_ONLY, ReadOnlyDatabase, readOnlySetting } from './read-only.ts';

const INSUFFICIENT_PRIVILEGE = '42501';

/** A sentence that the database's answer gives. Null: nothing to add. */
export async function explainByLooking(error: unknown, client: pg.Client, databaseUrl: string): Promise<Error | null> {
  const { code, message } = error as { code?: string; message: string };
  try {
    if (isReadOnly(error)) {
      await client.query('rollback');
      const setting = await readOnlySetting(client);
      return setting && new ReadOnlyDatabase(displayDatabase(databaseUrl), setting);
    }
    if (code === INSUFFICIENT_PRIVILEGE) {
      await client.query('rollback');
      const { role, uninherited, grant } = await membershipOf(client);
      if (uninherited === null) return null;
      return new UserError(
        `${displayDatabase(databaseUrl)}: ${message}. ` +
          `${role} is a member of ${uninherited}, but does not inherit its privileges. ` +
          `Let a DBA run: ${grant(uninherited).replace(/;$/, '')}.`,
      );
    }
  } catch {
    // The connection is closed, so the error stays unexplained.
  }
  return null;
}

export function isReadOnly(error: unknown): boolean {
  return (error as { code?: string } | null)?.code === READ_ONLY;
}
