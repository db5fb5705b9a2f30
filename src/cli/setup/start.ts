import type { Settings } from '../../config/settings.ts';
import { startDaemon } from '../../daemon/daemon.ts';
import { explainDatabaseError } from '../../database/explain-error.ts';
import { createLogger } from '../../observe/log.ts';
import { tellSystemd } from '../../observe/systemd.ts';
import { untilAskedToStop } from '../../shared/signals.ts';

/** Runs until SIGINT or SIGTERM, then lets attempts in flight end. A second signal ends the process at once. */
export async function start(settings: Settings): Promise<number> {
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
