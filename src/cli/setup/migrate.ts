/** `rowhook migrate`. */
import type { Command } from 'commander';
import type pg from 'pg';
import type { Out } from '../../shared/terminal.ts';
import { type Cli, help, onDatabase } from '../define.ts';

export function addMigrate(program: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    program.command('migrate').description('create or update the schema "rowhook" and its roles'),
    (client, flags: { json?: boolean }) => migrate(client, flags, cli.out),
  );
  help(
    command,
    ['DATABASE_URL=postgres://owner@localhost/app rowhook migrate'],
    'You can run it at any time. It applies only the migrations that are missing.',
  );
}

async function migrate(client: pg.Client, options: { json?: boolean }, out: Out): Promise<void> {
  const { migrate: applyMigrations } = await import('../../database/migrations.ts');
  const { applied, repaired, version } = await applyMigrations(client, (line) => options.json || out.print(line));
  if (options.json) out.print(JSON.stringify({ applied, version }));
  else if (applied.length + repaired === 0) out.print(`Nothing to do: the schema rowhook is at version ${version}.`);
  else out.print(`Done: the schema rowhook is at version ${version}.`);
}
