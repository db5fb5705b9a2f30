/** Commands for whoever looks after an installation. */
import type { Command } from 'commander';
import { wholeNumber } from '../config/parse.ts';
import { readSettings } from '../config/settings.ts';
import { help, onDatabase, out, parsed, settingFlags } from './define.ts';
import type { StatusOptions } from './inspect/status.ts';

export function addOperateCommands(program: Command): void {
  program.commandsGroup('Look after it:');
  addStatus(program);
  addDoctor(program);
}

function addStatus(program: Command): void {
  const command = onDatabase(
    program
      .command('status')
      .description('show lanes, lag, webhooks that fail, and the outbox')
      .option('--limit <n>', 'most webhooks to list', parsed('--limit', wholeNumber(1, 100_000)), 20)
      .option('--watch', 'show it again every 2 s'),
    async (client, flags: StatusOptions) => (await import('./inspect/status.ts')).status(client, flags, out),
  );
  help(
    command,
    ['rowhook status', 'rowhook status --watch', 'rowhook status --json | jq .oldest_undelivered_seconds'],
    'Positions are written once a second: a daemon at work shows the events of the last second as behind.',
  );
}

function addDoctor(program: Command): void {
  const command = settingFlags(program.command('doctor'), ['databaseUrl', 'environment', 'wake'])
    .description('look for what is wrong, say why it matters and how to mend it')
    .option('--json', 'print JSON, one object a line')
    .action(async (flags: { json?: boolean }) => {
      const settings = readSettings(flags as Record<string, unknown>, process.env);
      process.exitCode = await (await import('./inspect/doctor.ts')).doctor(settings, flags, out);
    });
  help(
    command,
    [
      'rowhook doctor',
      `rowhook doctor --json | jq -r 'select(.kind == "error") | .mend'`,
      'ROWHOOK_ENVIRONMENT=production rowhook doctor   # with the settings of the daemon',
    ],
    "It changes nothing. Run it with the daemon's DATABASE_URL, or as the owner; what a role may not see is told.",
    'Exit codes: 0 nothing, or warnings; 1 something keeps events back; 2 wrong usage or settings.',
  );
}
