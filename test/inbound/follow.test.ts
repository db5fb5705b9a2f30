// `rowhook inbound events --follow`, a process of its own.

import pg from 'pg';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { startRowhook } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { receiveSql } from '../support/inbound-events.ts';
import { waitUntil } from '../support/wait.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});

afterAll(() => database?.drop());

const RECEIVE = `select id from ${receiveSql('$1', '$2')}`;

test('prints each event once as it comes, also one that commits after later ones', async () => {
  const late = new pg.Client(database.url);
  late.on('error', () => {});
  await late.connect();
  onTestFinished(() => late.end());
  const put = async (name: string, tenant = 'acme', client: Pick<pg.Client, 'query'> = database.pool) =>
    (await client.query<{ id: string }>(RECEIVE, [tenant, name])).rows[0]?.id as string;
  const expected = [await put('old')];

  const following = startRowhook(['inbound', 'events', '--follow', '--json', '--tenant', 'acme'], {
    env: { DATABASE_URL: database.url },
  });
  onTestFinished(async () => {
    following.process.kill();
    await following.ended;
  });
  const printed = () =>
    following
      .stdout()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line).id as string);
  const prints = async (id: string) => {
    expected.push(id);
    await waitUntil('it is printed', () => printed().includes(id));
  };
  await waitUntil('what was there is printed', () => printed().length === 1);
  await late.query('begin');
  const first = await put('late', 'acme', late);
  await put('foreign', 'other');
  await prints(await put('new'));
  await late.query('commit');
  await prints(first);
  await prints(await put('last'));
  expect(printed()).toEqual(expected);
});
