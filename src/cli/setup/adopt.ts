/** `rowhook adopt`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { environment, oneOf } from '../../config/parse.ts';
import type { Undelivered } from '../../operations/adopt.ts';
import type { Out } from '../../shared/terminal.ts';
import { type Cli, help, onDatabase, parsed } from '../define.ts';

interface AdoptOptions {
  environment: string;
  undelivered: Undelivered;
  json?: boolean;
}

export function addAdopt(program: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    program
      .command('adopt')
      .description('assign a copied or renamed database to an environment')
      .requiredOption(
        '--environment <name>',
        'the ROWHOOK_ENVIRONMENT of its daemons',
        parsed('--environment', environment),
      )
      .requiredOption(
        '--undelivered <what>',
        'deliver or discard: what to do with undelivered events of this database',
        parsed('--undelivered', oneOf(['deliver', 'discard'])),
      ),
    (client, flags: AdoptOptions) => adopt(client, flags, cli.out),
  );
  help(
    command,
    [
      'rowhook adopt --environment staging --undelivered discard      # a copy of production',
      'rowhook adopt --environment production --undelivered deliver   # the same database under a new name',
    ],
    [
      'Stop the daemons of this database first.',
      "Webhooks stay active: a copy of production sends its new events to production's receivers.",
    ],
  );
}

async function adopt(client: pg.Client, { environment, undelivered, json }: AdoptOptions, out: Out): Promise<void> {
  const { adoptDatabase } = await import('../../operations/adopt.ts');
  const discarded = await adoptDatabase(client, environment, undelivered);
  if (json) out.print(JSON.stringify({ environment, undelivered, discarded_parked: discarded }));
  else {
    const were = undelivered === 'discard' ? 'discarded' : 'kept';
    out.print(`This database now belongs to the environment "${environment}". Undelivered events were ${were}.`);
  }
}
