import type { TestContext } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { startTestDaemon } from './daemon.ts';
import { createDatabase } from './database.ts';
import { startReceiver } from './receiver.ts';

/**
 * A database, a receiver and a daemon of one test's own. Tests that wait for retries most of their
 * time can then run side by side.
 */
export async function startFixture(onTestFinished: TestContext['onTestFinished']) {
  const database = await createDatabase({ crm: true });
  const receiver = await startReceiver();
  let daemon: Daemon | undefined;
  const start = async () => {
    daemon = await startTestDaemon(database);
  };
  const stop = async () => daemon?.stop();
  onTestFinished(async () => {
    await stop();
    await receiver.close();
    await database.drop();
  });
  return { database, receiver, start, stop };
}
