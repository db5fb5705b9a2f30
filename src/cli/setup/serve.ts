/** `rowhook serve`. */
import type { Command } from 'commander';
import { readServeSettings, SERVE_SETTINGS, type ServeSettings } from '../../config/settings.ts';
import { untilAskedToStop } from '../../shared/signals.ts';
import { type Cli, flagsOf, help } from '../define.ts';

export function addServe(program: Command, cli: Cli): void {
  const command = flagsOf(program.command('serve'), SERVE_SETTINGS)
    .description('run the HTTP API')
    .action(async (flags: Record<string, unknown>) => {
      // A socket that does not answer must not keep the process running.
      cli.process.exit(await serve(readServeSettings(flags, cli.process.env), cli));
    });
  help(
    command,
    ['rowhook serve', 'ROWHOOK_PUBLIC_URL=https://hooks.example.com rowhook serve --api-host 0.0.0.0'],
    [
      'It delivers nothing: "rowhook start" does. "rowhook api-key create" makes the first key.',
      'On SIGINT or SIGTERM it finishes what it is answering, for 10 s at most. A second signal stops it at once.',
      'The log is JSON, one object per line. On a terminal it is printed for people.',
    ],
    'Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage or settings.',
  );
}

async function serve(settings: ServeSettings, { process }: Cli): Promise<number> {
  // The server and its packages are loaded only here, so that --help is fast.
  const [{ startApi }, { explainDatabaseError }, { createLogger }] = await Promise.all([
    import('../../api/server.ts'),
    import('../../database/explain-error.ts'),
    import('../../observe/log.ts'),
  ]);
  const asked = untilAskedToStop(process, () => process.exit(1));
  try {
    const api = await Promise.race([startApi(settings, createLogger(settings.logLevel, process.stdout)), asked]);
    if (typeof api === 'string') return 0;
    await asked;
    await api.stop();
    return 0;
  } catch (error) {
    throw explainDatabaseError(error, settings.databaseUrl);
  }
}
