/** `rowhook start`. */
import type { Command } from 'commander';
import { readSettings, type Settings } from '../../config/settings.ts';
import { untilAskedToStop } from '../../shared/signals.ts';
import { help, settingFlags } from '../define.ts';

export function addStart(program: Command): void {
  const command = settingFlags(program.command('start'))
    .description('run the daemon that delivers')
    .action(async (flags: Record<string, unknown>) => {
      const settings = readSettings(flags, process.env);
      // all is recorded: a socket to a database that does not answer must not keep the process
      process.exit(await start(settings));
    });
  help(
    command,
    [
      'rowhook start',
      'ROWHOOK_ENVIRONMENT=production rowhook start --max-in-flight 512',
      'rowhook start --allow-http --allow-cidrs 127.0.0.0/8   # deliver to this machine',
    ],
    'A flag wins over the environment; an empty value is an unset one. Any number of daemons may run.\nSIGINT or SIGTERM lets attempts in flight end; a second one ends the process at once.',
    'Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage or settings.',
  );
}

/** Runs until SIGINT or SIGTERM, then lets attempts in flight end. A second signal ends the process at once. */
async function start(settings: Settings): Promise<number> {
  // the daemon and what it needs are loaded only here, not for --help
  const [{ startDaemon }, { explainDatabaseError }, { createLogger }, { tellSystemd }] = await Promise.all([
    import('../../daemon/daemon.ts'),
    import('../../database/explain-error.ts'),
    import('../../observe/log.ts'),
    import('../../observe/systemd.ts'),
  ]);
  const asked = untilAskedToStop(() => process.exit(1));
  const log = createLogger(settings.logLevel);
  try {
    const daemon = await Promise.race([startDaemon(settings, log), asked]);
    // it was still looking for its database
    if (typeof daemon === 'string') return 0;
    const serviceManager = tellSystemd(daemon.healthProblem, log);
    try {
      const signal = await Promise.race([asked, daemon.closed]);
      // A daemon that ended by itself is to be started again by whoever looks after it.
      return signal === undefined ? 1 : 0;
    } finally {
      await Promise.all([serviceManager.stopping(), daemon.stop()]);
    }
  } catch (error) {
    throw explainDatabaseError(error, settings.databaseUrl);
  }
}
