/** `rowhook adopt`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { environment, oneOf } from '../../config/parse.ts';
import type { Undelivered } from '../../operations/adopt.ts';
import type { Out } from '../../shared/terminal.ts';
import { help, onDatabase, out, parsed } from '../define.ts';

interface AdoptOptions {
  environment: string;
  undelivered: Undelivered;
  json?: boolean;
}

export function addAdopt(program: Command): void {
  const command = onDatabase(
    program
      .command('adopt')
      .description('say which environment a copied or renamed database belongs to')
      .requiredOption(
        '--environment <name>',
        'the ROWHOOK_ENVIRONMENT of its daemons',
        parsed('--environment', environment),
      )
      .requiredOption(
        '--undelivered <what>',
        'deliver or discard: what becomes of the events that are undelivered here',
        parsed('--undelivered', oneOf(['deliver', 'discard'])),
      ),
    (client, flags: AdoptOptions) => adopt(client, flags, out),
  );
  help(
    command,
    [
      'rowhook adopt --environment staging --undelivered discard      # a copy of production',
      'rowhook adopt --environment production --undelivered deliver   # the same database under a new name',
    ],
    'Stop the daemons of this database first. Its webhooks stay active: a copy of production still holds the URLs of its customers.',
  );
}

async function adopt(client: pg.Client, { environment, undelivered, json }: AdoptOptions, out: Out): Promise<void> {
  const { adoptDatabase } = await import('../../operations/adopt.ts');
  const discarded = await adoptDatabase(client, environment, undelivered);
  if (json) out.print(JSON.stringify({ environment, undelivered, discarded_parked: discarded }));
  else
    out.print(
      `This database belongs to the environment "${environment}" now. Undelivered events: ${undelivered === 'discard' ? 'discarded' : 'kept'}.`,
    );
}
