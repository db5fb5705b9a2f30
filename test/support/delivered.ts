// From statements to a receiver and back to what they should have caused, for tests of what is captured.

import { expect } from 'vitest';
import { catalogOf } from './catalog.ts';
import { caughtUp, startTestDaemon } from './daemon.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { startReceiver } from './receiver.ts';
import { verifyRequest } from './verify.ts';
import { createWebhook } from './webhook.ts';

export interface Delivered {
  database: TestDatabase;
  /** Runs statements, one transaction, and waits for exactly these deliveries, in any order: `deal.updated {…} was {…}`. */
  delivers(sql: string, expected: readonly (string | RegExp)[]): Promise<void>;
  /** Runs a test between watch and unwatch, which must leave nothing behind. `options` are further arguments of watch. */
  watched(table: string, options: string, work: () => Promise<void>): Promise<void>;
  /** Everything is read: nothing came but what was expected. */
  close(): Promise<void>;
}

/** A database, a daemon, and a receiver with a webhook of the tenant `acme` for every event. */
export async function startDelivered(): Promise<Delivered> {
  const database = await createDatabase();
  const receiver = await startReceiver();
  const { secret } = await createWebhook(database, { tenant_id: 'acme', url: receiver.url() });
  const daemon = await startTestDaemon(database);
  /** Requests that were accounted for. What came beyond them shows in the next call, or at the end. */
  let seen = 0;

  return {
    database,
    async delivers(sql, expected) {
      await database.query(sql);
      const requests = (await receiver.waitFor(seen + expected.length)).slice(seen);
      seen += expected.length;
      const came = requests.map((request) => {
        verifyRequest(request, secret);
        const body = request.body.toString();
        const start = '"organization":{"id":"acme"},"data":';
        const payload = body.slice(body.indexOf(start) + start.length, body.lastIndexOf(',"metadata":{"webhook_id":'));
        return `${request.headers['x-webhook-event']} ${payload.replace(',"previous":{', ' was {')}`;
      });
      const wanted = expected.map((line) => (typeof line === 'string' ? line : expect.stringMatching(line)));
      expect(came.sort()).toEqual(wanted.sort());
    },
    async watched(table, options, work) {
      const before = await catalogOf(database);
      await database.query(`select rowhook.watch($1::regclass${options === '' ? '' : `, ${options}`})`, [table]);
      await work();
      await database.query('select rowhook.unwatch($1::regclass)', [table]);
      expect(await catalogOf(database)).toEqual(before);
    },
    async close() {
      await caughtUp(database);
      await daemon.stop();
      await receiver.close();
      const came = receiver.requests.length;
      await database.drop();
      expect(came).toBe(seen);
    },
  };
}
