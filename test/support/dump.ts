// pg_dump and pg_restore, which npm's PostgreSQL does not have: those of the machine, if they are of a version that can be tested.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { runTool } from './tool.ts';

export interface DumpTools {
  /** Of PostgreSQL: a pg_dump reads older servers, but what it writes is for its own version or later. */
  major: 15 | 18;
  /** Writes a database into a file, or what the options choose of it. */
  dump(url: string, file: string, options?: readonly string[]): Promise<void>;
  /** Into a database that has none of what the dump has, unless the options say otherwise. */
  restore(url: string, file: string, options?: readonly string[]): Promise<void>;
}

/** Those of one of these versions, the first one best; undefined, and a word about it, when there are none. */
export function findDumpTools(majors: readonly (15 | 18)[]): DumpTools | undefined {
  for (const major of majors) {
    // where Debian and Red Hat keep the versions apart, and whatever is first in the path
    for (const directory of [`/usr/lib/postgresql/${major}/bin`, `/usr/pgsql-${major}/bin`, '']) {
      const program = (name: string) => join(directory, name);
      const { stdout } = spawnSync(program('pg_dump'), ['--version'], { encoding: 'utf8' });
      if (!stdout?.includes(`(PostgreSQL) ${major}.`)) continue;
      const run = async (name: string, args: string[]) => {
        const { code, output } = await runTool(program(name), args);
        if (code !== 0) throw new Error(`${name} failed: ${output}`);
      };
      return {
        major,
        dump: (url, file, options = []) => run('pg_dump', ['--format=custom', `--file=${file}`, ...options, url]),
        restore: (url, file, options = []) =>
          run('pg_restore', ['--exit-on-error', ...options, `--dbname=${url}`, file]),
      };
    }
  }
  console.warn(`Skipped: what needs pg_dump of PostgreSQL ${majors.join(' or ')}, which is not on this machine.`);
  return undefined;
}
