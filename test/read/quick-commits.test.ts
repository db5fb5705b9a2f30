// Where commits are quick, more of them may ring: the daemon sleeps at rates that would keep it awake elsewhere (read/doorbell.ts).

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { expect, test } from 'vitest';
import { FlushTime } from '../../src/shared/flush-time.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase } from '../support/database.ts';
import { startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

test('a hundred events a second ring, each of them, and all arrive', async ({ onTestFinished }) => {
  const database = await createDatabase();
  const receiver = await startReceiver();
  await database.query(`
    create table items (id int primary key generated always as identity, tenant_id text not null default 'acme');
    select rowhook.watch('items')`);
  await createWebhook(database, { tenant_id: 'acme', url: receiver.url('/') });
  const daemon = await startTestDaemon(database);
  const ear = new pg.Client(database.url);
  await ear.connect();
  let rings = 0;
  ear.on('notification', () => {
    rings += 1;
  });
  await ear.query('listen rowhook');
  let isWriting = true;
  let written = 0;
  const writer = (async () => {
    for (; isWriting; await sleep(8)) {
      await database.query('insert into items default values');
      written += 1;
    }
  })();
  onTestFinished(async () => {
    isWriting = false;
    await writer;
    await ear.end();
    await daemon.stop();
    await receiver.close();
    await database.drop();
  });
  const bell = async () =>
    (await database.query<{ value: string }>('select last_value as value from rowhook.doorbell'))[0];
  await waitUntil('the doorbell says that all sleep', async () => Number((await bell())?.value) === 2);
  const before = rings;
  await waitUntil('events ring', () => rings - before > 50);
  isWriting = false;
  await writer;
  await waitUntil(
    'all have arrived',
    () => new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size === written,
  );
});

test('a flush is what a quick write takes longer than a quick read', () => {
  const flush = new FlushTime();
  expect(flush.ms).toBeUndefined();
  for (const late of [9, 0, 30, 0, 4, 0, 0, 70]) {
    flush.noteRead(1 + late);
    flush.noteWrite(3 + late);
  }
  expect(flush.ms).toBe(2);
  // the disk has become slow
  for (let n = 0; n < 32; n++) flush.noteWrite(9);
  expect(flush.ms).toBe(8);
  // some commits are flushed with another one's
  for (let n = 0; n < 32; n++) flush.noteWrite(n % 5 === 0 ? 1.2 : 9);
  expect(flush.ms).toBe(8);
});
