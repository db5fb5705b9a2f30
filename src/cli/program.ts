/** The commands, and what their errors look like and exit with. */
import { Command, CommanderError } from 'commander';
import { UserError } from '../shared/user-error.ts';
import { VERSION } from '../shared/version.ts';
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
  // a flag belongs to the command before it: in "logs show 1 --json", to "show"
  .enablePositionalOptions()
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'rowhook: ')) })
  .showHelpAfterError('(--help says what can be given)')
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

program.commandsGroup('Look after it:');
addStatus(program);
addDoctor(program);

program.commandsGroup('Receive:');
addListen(program);
addVerify(program);

program.commandsGroup('In your shell:');
addCompletion(program);

// "rowhook logs | head" closes our stdout: that is no failure.
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
  process.stderr.write(`rowhook: this is a bug of rowhook, please report it with these lines.\n${detail}\n`);
  return 1;
}
