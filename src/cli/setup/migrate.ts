import type pg from 'pg';
import { migrate as applyMigrations } from '../../database/migrations.ts';
import type { Out } from '../../shared/terminal.ts';

export async function migrate(client: pg.Client, options: { json?: boolean }, out: Out): Promise<void> {
  const { applied, version } = await applyMigrations(client, (line) => options.json || out.print(line));
  if (options.json) out.print(JSON.stringify({ applied, version }));
  else if (applied.length === 0) out.print(`Nothing to do: the schema rowhook is at version ${version}.`);
  else out.print(`Done: the schema rowhook is at version ${version}.`);
}
