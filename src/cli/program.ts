/** The commands, the format of their errors, and the exit codes. */
import { Command, CommanderError } from 'commander';
import { terminal } from '../shared/terminal.ts';
import { UserError } from '../shared/user-error.ts';
import { BUGS_URL, VERSION } from '../shared/version.ts';
import { type Cli, type CliProcess, EXIT_CODES } from './define.ts';
import { addInbound } from './inbound/inbound.ts';
import { addDeliveries } from './inspect/deliveries.ts';
import { addDoctor } from './inspect/doctor.ts';
import { addEventTypes } from './inspect/event-types.ts';
import { addLogs } from './inspect/logs.ts';
import { addReplay } from './inspect/replay.ts';
import { addStatus } from './inspect/status.ts';
import { addWhy } from './inspect/why.ts';
import { addAdopt } from './setup/adopt.ts';
import { addApiKey } from './setup/api-key.ts';
import { addDemo } from './setup/demo.ts';
import { addMigrate } from './setup/migrate.ts';
import { addPortalLink } from './setup/portal-link.ts';
import { addServe } from './setup/serve.ts';
import { addStart } from './setup/start.ts';
import { addSources, addUnwatch, addWatch } from './setup/watch.ts';
import { namingMisspeltFlag, suggestCommands } from './suggestions.ts';
import { addCompletion } from './tools/completion.ts';
import { addListen } from './tools/listen.ts';
import { addVerify } from './tools/verify.ts';
import { addWebhook } from './webhooks/webhook.ts';

/** Runs a command line: the words after the program's name. The exit code is `process.exitCode`. */
export async function main(args: readonly string[], process: CliProcess): Promise<void> {
  // "rowhook logs | head" closes our stdout, which is not a failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  try {
    await commands({ process, out: terminal(process.stdout) }, args).parseAsync(args, { from: 'user' });
  } catch (error) {
    process.exitCode = exitCodeOf(error, process);
  }
}

function commands(cli: Cli, args: readonly string[]): Command {
  const program = new Command('rowhook')
    .description('Turns a PostgreSQL database into a webhook platform: write rows, get signed webhooks.')
    .version(VERSION, '--version', 'print the version')
    .helpOption('--help', 'print this help')
    .helpCommand(false)
    // A flag belongs to the command before it: in "logs show 1 --json", to "show".
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void cli.process.stdout.write(text),
      writeErr: (text) => void cli.process.stderr.write(text),
      getOutHelpWidth: () => cli.out.columns ?? 80,
      outputError: (text, write) => write(namingMisspeltFlag(text, args).replace(/^error: /, 'rowhook: ')),
    })
    .showHelpAfterError('(add --help to see the usage)')
    .addHelpText('after', `\n"rowhook <command> --help" shows a command's flags and examples.\n\n${EXIT_CODES}`);

  program.commandsGroup('Set up and run:');
  addMigrate(program, cli);
  addWatch(program, cli);
  addUnwatch(program, cli);
  addSources(program, cli);
  addAdopt(program, cli);
  addStart(program, cli);
  addServe(program, cli);
  addApiKey(program, cli);
  addPortalLink(program, cli);
  addDemo(program, cli);

  program.commandsGroup('Webhooks:');
  addWebhook(program, cli);
  addEventTypes(program, cli);

  addInbound(program, cli);

  program.commandsGroup('What happened:');
  addLogs(program, cli);
  addDeliveries(program, cli);
  addReplay(program, cli);
  addWhy(program, cli);

  program.commandsGroup('Check the system:');
  addStatus(program, cli);
  addDoctor(program, cli);

  program.commandsGroup('Receive:');
  addListen(program, cli);
  addVerify(program, cli);

  program.commandsGroup('In your shell:');
  addCompletion(program, cli);
  suggestCommands(program);
  return program;
}

function exitCodeOf(error: unknown, { stderr }: CliProcess): number {
  // Commander has printed its own sentence already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof UserError) {
    stderr.write(`rowhook: ${error.message}\n`);
    return error.exitCode;
  }
  const detail = error instanceof Error ? error.stack : String(error);
  stderr.write(`rowhook: this is a bug in rowhook. Please report these lines at ${BUGS_URL}\n${detail}\n`);
  return 1;
}
