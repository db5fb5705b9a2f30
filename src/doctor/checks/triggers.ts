/** Compares watched tables with their existing triggers. */

import { problemsOf, readSources } from '../../capture/source-problems.ts';
import { type CheckResult, type Examination, fine } from '../finding.ts';

export async function triggers({ client }: Examination): Promise<CheckResult[]> {
  const sources = await readSources(client);
  if (sources.length === 0) {
    return [
      {
        kind: 'warning',
        what: 'no table is watched',
        why: 'No row change becomes an event.',
        fix: "select * from rowhook.watch_preset('crm');   -- or rowhook.watch('public.orders')",
      },
    ];
  }
  const problems = await problemsOf(client, sources);
  if (problems.length === 0) return [fine(`all triggers exist (watched tables: ${sources.length})`)];
  return problems.map(({ table: _, ...result }) => result);
}
