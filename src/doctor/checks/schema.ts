/** Checks that rowhook is installed, by its owner, in the version that this rowhook was built for. */
import { membershipOf, uninheritedRole } from '../../database/membership.ts';
import { builtForVersion, schemaVersion } from '../../database/migrations.ts';
import { missingPoliciesFinding } from '../../database/row-security.ts';
import { wrongOwner } from '../../database/schema-owner.ts';
import { type CheckResult, type Examination, fine } from '../finding.ts';

export async function schema({ client }: Examination): Promise<CheckResult[]> {
  const { rows } = await client.query<{ found: boolean; usable: boolean }>(
    `select to_regnamespace('rowhook') is not null as found,
            coalesce(has_schema_privilege(to_regnamespace('rowhook'), 'usage'), false) as usable`,
  );
  const { found, usable } = rows[0] as (typeof rows)[number];
  if (!found) return [outdated('the schema rowhook does not exist', 'No event is captured or delivered.')];
  const problem = await wrongOwner(client);
  if (problem) return [problem.finding];
  if (!usable) {
    const membership = await membershipOf(client);
    const { role, grant } = membership;
    return [
      {
        kind: 'unseen',
        what: `the schema rowhook, because ${role} may not use it`,
        fix: grant(uninheritedRole(membership) ?? 'rowhook_daemon'),
      },
    ];
  }
  const [version, wanted] = [await schemaVersion(client), await builtForVersion()];
  if (version === wanted) {
    return [(await missingPoliciesFinding(client)) ?? fine(`the schema rowhook is at version ${version}`)];
  }
  const what = `the schema rowhook is at version ${version}, but this rowhook needs version ${wanted}`;
  const why = 'A daemon of this rowhook refuses to start.';
  if (version < wanted) return [outdated(what, why)];
  return [{ kind: 'error', what, why, fix: 'npm install rowhook@latest' }];
}

function outdated(what: string, why: string): CheckResult {
  return { kind: 'error', what, why, fix: 'rowhook migrate' };
}
