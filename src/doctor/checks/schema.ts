/** Checks that rowhook is installed, in the version that this rowhook was built for. */
import { membershipOf } from '../../database/membership.ts';
import { builtForVersion, schemaVersion } from '../../database/migrations.ts';
import { type Examination, fine, type Remark } from '../finding.ts';

export async function schema({ client }: Examination): Promise<Remark[]> {
  const { rows } = await client.query<{ found: boolean; usable: boolean }>(
    `select to_regnamespace('rowhook') is not null as found,
            coalesce(has_schema_privilege(to_regnamespace('rowhook'), 'usage'), false) as usable`,
  );
  const { found, usable } = rows[0] as (typeof rows)[number];
  if (!found) return [outdated('the schema rowhook is not there', 'Nothing is captured, and nothing delivered.')];
  if (!usable) {
    const { role, uninherited, grant } = await membershipOf(client);
    return [
      {
        kind: 'unseen',
        what: `${role} may not use the schema rowhook, so nothing of it could be looked at`,
        mend: grant(uninherited ?? 'rowhook_daemon'),
      },
    ];
  }
  const [version, wanted] = [await schemaVersion(client), await builtForVersion()];
  if (version === wanted) return [fine(`the schema rowhook is at version ${version}`)];
  const what = `the schema rowhook is at version ${version}, this rowhook was built for ${wanted}`;
  const why = 'Daemons of this version refuse to start on it.';
  if (version < wanted) return [outdated(what, why)];
  return [{ kind: 'error', what, why, mend: 'npm install rowhook@latest' }];
}

function outdated(what: string, why: string): Remark {
  return { kind: 'error', what, why, mend: 'rowhook migrate' };
}
