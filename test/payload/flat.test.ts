// payload_format 'flat': rowhook's own fields stand beside the row's, and no column or emitted field replaces one.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { flatFields } from '../../src/payload/flat.ts';
import { rowhook } from '../support/cli.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type ReceivedRequest, type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';

describe('the fields of a row', () => {
  test.each([
    ['{"a":1,"b":[1, 2]}', ',"a":1,"b":[1, 2]'],
    ['{}', ''],
    [' { } ', ''],
    // every name of rowhook's, in a row of its own too
    ['{"webhook_event":1}', ',"data_webhook_event":1'],
    ['{"webhook_event_id":1}', ',"data_webhook_event_id":1'],
    ['{"webhook_timestamp":1}', ',"data_webhook_timestamp":1'],
    ['{"webhook_organization":1}', ',"data_webhook_organization":1'],
    ['{"webhook_metadata":1}', ',"data_webhook_metadata":1'],
    ['{"previous":{"previous":1}}', ',"data_previous":{"previous":1}'],
    ['{"truncated":true}', ',"data_truncated":true'],
    ['{"truncated_reason":"x"}', ',"data_truncated_reason":"x"'],
    ['{"test":true}', ',"data_test":true'],
    // names that are somebody else's
    ['{"webhook":1,"webhook_events":2,"event":3,"id":4,"data":5,"my_test":6}', undefined],
    ['{"webhook_event ":1," test":2,"test.":3,"":4}', undefined],
    // in any writing, which is kept
    ['{"Webhook_Event":1,"TEST":2}', ',"data_Webhook_Event":1,"data_TEST":2'],
    ['{"webhook\\u005fevent":1}', ',"data_webhook\\u005fevent":1'],
    ['{"\\u0074\\u0065\\u0073\\u0074":1}', ',"data_\\u0074\\u0065\\u0073\\u0074":1'],
    ['{"webhoo\u212a_event":1,"te\u017ft":2}', ',"data_webhoo\u212a_event":1,"data_te\u017ft":2'],
    ['{ "test" : 1 ,\n "a" : 2 }', ',"data_test" : 1 ,\n "a" : 2'],
    // no two names become one
    ['{"test":1,"data_test":2,"data_data_test":3}', ',"data_test":1,"data_data_test":2,"data_data_data_test":3'],
    // json, unlike jsonb, keeps names that are there twice
    ['{"test":1,"a":2,"test":3}', ',"data_test":1,"a":2,"data_test":3'],
    // values and nested objects stay as they are, with every digit
    ['{"a":{"test":1,"b":[{"webhook_event":2}]},"test":3}', ',"a":{"test":1,"b":[{"webhook_event":2}]},"data_test":3'],
    [
      '{"a":"\\"test\\":1,\\"test","test":"{\\"test\\":1}"}',
      ',"a":"\\"test\\":1,\\"test","data_test":"{\\"test\\":1}"',
    ],
    ['{"a":"\\\\","test":12345678901234567890.10e400}', ',"a":"\\\\","data_test":12345678901234567890.10e400'],
    // what is not an object has no fields
    ['null', ',"data":null'],
    ['[{"test":1}]', ',"data":[{"test":1}]'],
    [' "test" ', ',"data":"test"'],
  ])('%s', (json, fields) => {
    expect(flatFields(json)).toBe(fields ?? `,${json.slice(1, -1)}`);
  });
});

describe('from a table whose columns are named like fields of rowhook', () => {
  const tenant = 'acme';
  let database: TestDatabase;
  let receiver: Receiver;
  let daemon: Daemon;

  beforeAll(async () => {
    database = await createDatabase();
    receiver = await startReceiver();
    await database.query(
      `create table odd (id bigint primary key, tenant_id text not null, webhook_event text, webhook_event_id numeric, test boolean, previous json)`,
    );
    await database.query("select rowhook.watch('odd')");
    await database.query(
      `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, payload_format, batch_max_events, batch_max_wait_ms)
       values ($1, 'single', $2, '{*}', 'flat', 1, 0), ($1, 'batch', $3, '{odd.*}', 'flat', 2, 5000)`,
      [tenant, receiver.url('/single'), receiver.url('/batch')],
    );
    daemon = await startTestDaemon(database);
  });

  afterAll(async () => {
    await daemon?.stop();
    await receiver?.close();
    await database?.drop();
  });

  const text = ({ body }: ReceivedRequest) => body.toString();
  const logged = (count: number) =>
    waitUntil(`${count} attempts are logged`, async () => {
      const rows = await database.query<{ id: string; event_id: string; webhook_name: string }>(
        'select id, event_id, webhook_name from rowhook.webhook_logs order by id',
      );
      return rows.length >= count ? rows : undefined;
    });

  test("rowhook's own fields win, singly and in a batch; the row's are behind data_, byte for byte", async () => {
    await database.query(
      `insert into odd values (9007199254740993, 'acme', 'deal.won', 1.50, true, '{"previous" : 1.0}')`,
    );
    await database.query("update odd set webhook_event = 'deal.lost'");
    const [created, updated] = (await receiver.waitFor(({ path }) => path === '/single', { count: 2 })).map(text);
    for (const [body = '', event] of [
      [created, 'odd.created'],
      [updated, 'odd.updated'],
    ]) {
      const parsed = JSON.parse(body);
      expect(parsed).toMatchObject({ webhook_event: event, data_webhook_event_id: 1.5, data_test: true });
      expect(parsed.webhook_event_id).toMatch(/^evt_/);
      expect(parsed).not.toHaveProperty('test');
      for (const name of ['webhook_event', 'webhook_event_id', 'data_test'])
        expect(body.replace(/,"previous":\{[^}]*\}/, '').split(`"${name}":`)).toHaveLength(2);
      expect(body).toContain(',"data_webhook_event_id":1.50,"data_test":true,"data_previous":{"previous" : 1.0}');
      expect(body).toContain(',"id":9007199254740993,');
    }
    expect(created).not.toContain(',"previous":');
    expect(updated).toContain(',"data_webhook_event":"deal.lost"');
    // names of columns, as in the nested format
    expect(updated).toContain(',"previous":{"webhook_event":"deal.won"}');

    const [batch] = await receiver.waitFor(({ path }) => path === '/batch');
    const events = JSON.parse(text(batch as ReceivedRequest)).batch;
    expect(events).toMatchObject([
      { webhook_event: 'odd.created', data_webhook_event: 'deal.won', data_test: true },
      { webhook_event: 'odd.updated', data_webhook_event: 'deal.lost', previous: { webhook_event: 'deal.won' } },
    ]);
    await logged(4);
  });

  test('so do the fields of an emitted object, and a test is marked as one', async () => {
    const { length } = receiver.requests;
    await database.query(
      `select rowhook.emit('order.paid', '{"test":true,"webhook_event":"x","webhook_event":"y"}', $1)`,
      [tenant],
    );
    const emitted = text((await receiver.waitFor(length + 1))[length] as ReceivedRequest);
    expect(JSON.parse(emitted)).toMatchObject({
      webhook_event: 'order.paid',
      data_test: true,
      data_webhook_event: 'y',
    });
    expect(JSON.parse(emitted)).not.toHaveProperty('test');
    await logged(5);
  });

  test('a replay sends the same bytes, and logs show rebuilds them', async () => {
    const sent = receiver.requestsTo('/single').map(text);
    const [log] = (await logged(5)).filter(({ webhook_name }) => webhook_name === 'single');
    const shown = await rowhook(['logs', 'show', log?.id ?? '', '--body'], { env: { DATABASE_URL: database.url } });
    expect(shown.stdout).toBe(sent[0]);

    const { length } = receiver.requests;
    await database.query(
      `select rowhook.replay(id, now() - interval '1 hour', null, 'all') from rowhook.webhook_configurations where name = 'single'`,
    );
    await receiver.waitFor(length + sent.length);
    expect(receiver.requests.slice(length).map(text).sort()).toEqual(sent.toSorted());
  });
});
