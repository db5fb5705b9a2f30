/** The commands, the format of their errors, and the exit codes. */
import { Command, CommanderError } from 'commander';
import { UserError } from '../shared/user-error.ts';
import { BUGS_URL, VERSION } from '../shared/version.ts';
import { EXIT_CODES } from './define.ts';
import { addDeliveries } from './inspect/deliveries.ts';
import { addDoctor } from './inspect/doctor.ts';
import { addLogs } from './inspect/logs.ts';
import { addReplay } from './inspect/replay.ts';
import { addStatus } from './inspect/status.ts';
import { addWhy } from './inspect/why.ts';
import { addAdopt } from './setup/adopt.ts';
import { addDemo } from './setup/demo.ts';
import { addMigrate } from './setup/migrate.ts';
import { addStart } from './setup/start.ts';
import { addSources, addUnwatch, addWatch } from './setup/watch.ts';
import { addCompletion } from './tools/completion.ts';
import { addListen } from './tools/listen.ts';
import { addVerify } from './tools/verify.ts';
import { addWebhook } from './webhooks/webhook.ts';

const program = new Command('rowhook')
  .description('Turns a PostgreSQL database into a webhook platform: write rows, get signed webhooks.')
  .version(VERSION, '--version', 'print the version')
  .helpOption('--help', 'print this help')
  .helpCommand(false)
  // A flag belongs to the command before it: in "logs show 1 --json", to "show".
  .enablePositionalOptions()
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'rowhook: ')) })
  .showHelpAfterError('(add --help to see the usage)')
  .addHelpText('after', `\n"rowhook <command> --help" shows a command's flags and examples.\n\n${EXIT_CODES}`);

program.commandsGroup('Set up and run:');
addMigrate(program);
addWatch(program);
addUnwatch(program);
addSources(program);
addAdopt(program);
addStart(program);
addDemo(program);

program.commandsGroup('Webhooks:');
addWebhook(program);

program.commandsGroup('What happened:');
addLogs(program);
addDeliveries(program);
addReplay(program);
addWhy(program);

program.commandsGroup('Check the system:');
addStatus(program);
addDoctor(program);

program.commandsGroup('Receive:');
addListen(program);
addVerify(program);

program.commandsGroup('In your shell:');
addCompletion(program);

// "rowhook logs | head" closes our stdout, which is not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

function exitCodeOf(error: unknown): number {
  // Commander has printed its own sentence already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof UserError) {
    process.stderr.write(`rowhook: ${error.message}\n`);
    return error.exitCode;
  }
  const detail = error instanceof Error ? error.stack : String(error);
  process.stderr.write(`rowhook: this is a bug in rowhook. Please report these lines at ${BUGS_URL}\n${detail}\n`);
  return 1;
}
