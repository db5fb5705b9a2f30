/**
 * Checks the server: its version, minor versions with known bugs, whether it is a replica, and
 * settings that rowhook does not need.
 */
import type pg from 'pg';
import { readOnlySetting } from '../../database/read-only.ts';
import { type CheckResult, type Examination, fine } from '../finding.ts';

interface BadMinors {
  /** server_version_num. */
  versions: readonly number[];
  why: string;
}

/** Minor versions that PostgreSQL replaced by an extra release, with bugs that matter here. */
const BAD_MINORS: readonly BadMinors[] = [
  {
    versions: [150009, 160005, 170001],
    why:
      'ALTER ROLE … SET ROLE has no effect, so an application may write with the wrong role. ' +
      'Extensions that were built for another minor version may crash the server.',
  },
  {
    versions: [150016, 160012, 170008, 180002],
    why: "substring() fails on valid long texts. In a trigger or default, it fails the application's statement.",
  },
];

/** Why this version should be updated, or undefined. Pure. */
export function badMinor(version: number): string | undefined {
  return BAD_MINORS.find(({ versions }) => versions.includes(version))?.why;
}

export async function server({ client }: Examination): Promise<CheckResult[]> {
  const { rows } = await client.query<{ number: number; name: string; standby: boolean; wal: string }>(
    `select current_setting('server_version_num')::int as number, current_setting('server_version') as name,
            pg_is_in_recovery() as standby, current_setting('wal_level') as wal`,
  );
  const { number, name, standby, wal } = rows[0] as (typeof rows)[number];
  return [
    ...versionRemarks(number, name),
    standby
      ? {
          kind: 'error',
          what: 'this server is a hot standby',
          why: 'A standby does not know which transactions are running, so the daemon refuses to start there.',
          fix: 'name the primary in DATABASE_URL, or promote this server: select pg_promote();',
        }
      : await writing(client),
    fine(`wal_level is ${wal}. rowhook works with any value`),
  ];
}

async function writing(client: pg.ClientBase): Promise<CheckResult> {
  const readOnly = await readOnlySetting(client);
  return readOnly === null ? fine('this server is a primary and accepts writes') : { kind: 'error', ...readOnly };
}

/** Pure. */
export function versionRemarks(version: number, name: string): CheckResult[] {
  if (version < 150000) {
    return [
      {
        kind: 'error',
        what: `this server is PostgreSQL ${name}`,
        why: 'rowhook needs PostgreSQL 15 or later. The daemon refuses to start.',
        fix: 'upgrade the server to a supported major version',
      },
    ];
  }
  const bad = badMinor(version);
  if (bad === undefined) return [fine(`PostgreSQL ${name}`)];
  return [
    {
      kind: 'warning',
      what: `PostgreSQL ${name} is a minor version with known bugs`,
      why: bad,
      fix: 'install the current minor version of the same major version, and restart the server',
    },
  ];
}
