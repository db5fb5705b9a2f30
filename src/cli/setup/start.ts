/** `rowhook start`. */
import type { Command } from 'commander';
import { readSettings, type Settings } from '../../config/settings.ts';
import { untilAskedToStop } from '../../shared/signals.ts';
import { counted } from '../../shared/text.ts';
import { type Cli, help, settingFlags } from '../define.ts';

export function addStart(program: Command, cli: Cli): void {
  const command = settingFlags(program.command('start'))
    .description('run the daemon, which delivers events')
    .action(async (flags: Record<string, unknown>) => {
      const settings = readSettings(flags, cli.process.env);
      // Everything is recorded by now. A socket to a database that does not answer must not keep the
      // process running.
      cli.process.exit(await start(settings, cli));
    });
  help(
    command,
    [
      'rowhook start',
      'ROWHOOK_ENVIRONMENT=production rowhook start --max-in-flight 512',
      'rowhook start --allow-http --allow-cidrs 127.0.0.0/8   # deliver to this machine',
    ],
    [
      'A flag overrides the environment variable. An empty value counts as not set. You can run several daemons.',
      'On SIGINT or SIGTERM the daemon finishes its attempts in flight and stops. A second signal stops it at once.',
      'The log is JSON, one object per line. On a terminal it is printed for people.',
    ],
    'Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage or settings.',
  );
}

/** Runs until SIGINT or SIGTERM, then finishes attempts in flight. Resolves to the exit code. */
async function start(settings: Settings, cli: Cli): Promise<number> {
  const { process } = cli;
  // The daemon and its packages are loaded only here, so that --help is fast.
  const [{ startDaemon }, { explainDatabaseError }, { createLogger }, { tellSystemd }] = await Promise.all([
    import('../../daemon/daemon.ts'),
    import('../../database/explain-error.ts'),
    import('../../observe/log.ts'),
    import('../../observe/systemd.ts'),
  ]);
  const asked = untilAskedToStop(process, () => process.exit(1));
  const log = createLogger(settings.logLevel, process.stdout);
  try {
    const daemon = await Promise.race([startDaemon(settings, log), asked]);
    // A signal arrived before the daemon had connected to its database.
    if (typeof daemon === 'string') return 0;
    const serviceManager = tellSystemd(daemon.healthProblem, log);
    if (process.stdout.isTTY) await greet(settings, cli);
    try {
      const signal = await Promise.race([asked, daemon.closed]);
      // If the daemon ended without a signal, systemd or Kubernetes should restart it.
      return signal === undefined ? 1 : 0;
    } finally {
      await Promise.all([serviceManager.stopping(), daemon.stop()]);
    }
  } catch (error) {
    throw explainDatabaseError(error, settings.databaseUrl);
  }
}

/** Says on a terminal what this daemon has to do. The log has no sentence for it. */
async function greet({ databaseUrl }: Settings, { out }: Cli): Promise<void> {
  const [{ withClient }, { readOverview }] = await Promise.all([
    import('../../database/connections.ts'),
    import('../../operations/overview.ts'),
  ]);
  // The daemon itself reports a database that does not answer.
  const overview = await withClient(databaseUrl, 'rowhook cli', readOverview).catch(() => null);
  if (overview === null) return;
  const { webhooks, tables } = overview;
  out.print(`${counted(webhooks, 'active webhook')}, ${counted(tables, 'watched table')}. Stop with Ctrl-C.`);
  if (tables === 0) out.print('To watch a table: rowhook watch <table>');
  if (webhooks === 0) out.print('To create a webhook: rowhook webhook create --help');
}
