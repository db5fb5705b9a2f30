/** Both processes run only on the schema that they were built for. */
import type pg from 'pg';
import { UserError } from '../shared/user-error.ts';
import { builtForVersion, schemaVersion } from './migrations.ts';
import { wrongOwner } from './schema-owner.ts';

/** Resolves to the version of the schema, or rejects with a sentence. */
export async function requireSchema(client: pg.Client): Promise<number> {
  const problem = await wrongOwner(client);
  if (problem) throw problem.error;
  const [found, wanted] = [await schemaVersion(client), await builtForVersion()];
  if (found === 0) throw new UserError('rowhook is not installed in this database. Run "rowhook migrate".');
  if (found < wanted) {
    throw new UserError(
      `The schema rowhook is at version ${found}, but this rowhook needs version ${wanted}. Run "rowhook migrate".`,
    );
  }
  if (found > wanted) {
    throw new UserError(
      `The schema rowhook is at version ${found}, but this rowhook only knows versions up to ${wanted}. ` +
        'Use a newer rowhook. Nothing was changed.',
    );
  }
  return wanted;
}
