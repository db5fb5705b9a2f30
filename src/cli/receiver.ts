/** Commands for whoever receives: they need no database. */
import type { Command } from 'commander';
import { wholeNumber } from '../config/parse.ts';
import { help, out, parsed } from './define.ts';
import { SECRETS_NOTE, secretFlags } from './secret-flags.ts';
import type { ListenOptions } from './tools/listen.ts';
import type { VerifyOptions } from './tools/verify.ts';

export function addReceiverCommands(program: Command): void {
  program.commandsGroup('Receive:');
  addListen(program);
  addVerify(program);
}

function addListen(program: Command): void {
  const command = secretFlags(program.command('listen'), [
    {
      flag: '--secret <secret>',
      description: 'verify with this secret; repeatable, as during a rotation',
      repeatable: true,
    },
  ])
    .description('receive webhooks on this machine, verify them and print them')
    .option('--port <port>', 'where to listen; 0 takes a free one', parsed('--port', wholeNumber(0, 65_535)), 3000)
    .option('--host <address>', 'the address to listen on', '127.0.0.1')
    .option('--status <status>', 'the status to answer', parsed('--status', wholeNumber(200, 599)), 200)
    .option('--quiet', 'print one line each, without the body')
    .option('--json', 'print one JSON object a line, the body as text')
    .action(async (flags: Omit<ListenOptions, 'secret'> & { secret?: string[] }) => {
      const [{ listen }, { untilAskedToStop }] = await Promise.all([
        import('./tools/listen.ts'),
        import('../shared/signals.ts'),
      ]);
      const asked = untilAskedToStop(() => process.exit(1));
      const server = await listen({ secret: [], ...flags }, out);
      await asked;
      server.close().closeAllConnections();
    });
  help(
    command,
    [
      'rowhook listen --port 3000 --secret whsec_…',
      'rowhook listen --status 500   # see the retries',
      'rowhook listen --json | jq -r .event',
    ],
    `${SECRETS_NOTE}\nIt answers --status to valid and invalid requests alike.`,
  );
}

function addVerify(program: Command): void {
  const command = secretFlags(
    program.command('verify'),
    [{ flag: '--secret <secret>', description: 'the signing secret; repeatable', repeatable: true, required: true }],
    'the body is read from stdin',
  )
    .description('verify a saved request, its body on stdin')
    .requiredOption('--signature <signature>', 'webhook-signature (v1,…), or X-Webhook-Signature (64 hex digits)')
    .option('--id <id>', 'webhook-id; not for the hex signature')
    .option('--timestamp <seconds>', 'webhook-timestamp; not for the hex signature')
    .option(
      '--tolerance <seconds>',
      'refuse a request older than this (default: any age)',
      parsed('--tolerance', wholeNumber(0, 1e9)),
    )
    .option('--json', 'print the verdict as JSON')
    .action(async ({ tolerance, ...options }: Omit<VerifyOptions, 'toleranceSeconds'> & { tolerance?: number }) => {
      const { readBody, verify } = await import('./tools/verify.ts');
      const body = await readBody(process.stdin);
      const toleranceSeconds = tolerance ?? Number.POSITIVE_INFINITY;
      process.exitCode = verify({ ...options, toleranceSeconds }, body, Date.now() / 1000, out);
    });
  help(
    command,
    [
      'rowhook verify --secret-file secret.txt --id evt_… --timestamp 1760729400 --signature v1,… < body.json',
      'rowhook verify --secret whsec_… --signature 5d5e… < body.json',
    ],
    "A secret on the command line can be read in ps and in your shell's history: give a file.",
    'Exit codes: 0 valid, 1 not valid, 2 wrong usage.',
  );
}
