// Every table of the CRM, every kind of write, from the statement to the receiver. What must come is worked out without
// rowhook: from the rows before and after the statement, as row_to_json prints them.

import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { copyIn } from '../support/copy.ts';
import { caughtUp, startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type ReceivedRequest, type Receiver, startReceiver } from '../support/receiver.ts';
import { verifyRequest } from '../support/verify.ts';
import { createWebhook, type TestWebhook } from '../support/webhook.ts';

const tenant = 'acacacac-0000-4000-8000-000000000001';
const somebody = 'acacacac-0000-4000-8000-0000000000ff';

interface CrmTable {
  table: string;
  prefix: string;
  /** A column that must be given. */
  label: string;
  /** Changes every row. */
  change: string;
  /** Column → the event when it changes. */
  derived: Record<string, string>;
}

const tables: CrmTable[] = [
  {
    table: 'contacts',
    prefix: 'contact',
    label: 'first_name',
    change: `assigned_to = '${somebody}', email = null`,
    derived: { assigned_to: 'contact.assigned' },
  },
  {
    table: 'deals',
    prefix: 'deal',
    label: 'title',
    change: `stage = 'won', assigned_to = '${somebody}', value = value + 0.5`,
    derived: { assigned_to: 'deal.assigned', stage: 'deal.stage.changed' },
  },
  { table: 'clients', prefix: 'clients', label: 'name', change: `status = 'lost'`, derived: {} },
  {
    table: 'projects',
    prefix: 'projects',
    label: 'name',
    change: `budget = 1.10, ends_on = '2030-02-28'`,
    derived: {},
  },
  { table: 'notes', prefix: 'notes', label: 'body', change: `author_id = '${somebody}'`, derived: {} },
];

/** Rows that are there before each statement: 1 to 4. */
const rowId = (n: number) => `acacacac-0000-4000-8000-0000000000${String(n).padStart(2, '0')}`;

const columnsOf = ({ table, label }: CrmTable) =>
  `id, organization_id, ${label}${table === 'contacts' ? ', last_name' : ''}`;
const valuesOf = ({ table }: CrmTable, n: number) =>
  `'${rowId(n)}'::uuid, '${tenant}'::uuid, 'row ${n}'${table === 'contacts' ? ", 'Last'" : ''}`;

type Way = [name: string, write: (t: CrmTable) => string];

const ways: Way[] = [
  ['INSERT of a row', (t) => `insert into ${t.table} (${columnsOf(t)}) values (${valuesOf(t, 5)})`],
  [
    'INSERT of many rows',
    (t) =>
      `insert into ${t.table} (organization_id, ${t.label}${t.table === 'contacts' ? ', last_name' : ''})
       select '${tenant}', 'row ' || n${t.table === 'contacts' ? ", 'Last'" : ''} from generate_series(1, 30) as n`,
  ],
  ['UPDATE of a row', (t) => `update ${t.table} set ${t.change} where id = '${rowId(1)}'`],
  ['UPDATE of many rows', (t) => `update ${t.table} set ${t.change}, updated_at = now() where id <> '${rowId(4)}'`],
  ['DELETE of a row', (t) => `delete from ${t.table} where id = '${rowId(1)}'`],
  ['DELETE of many rows', (t) => `delete from ${t.table} where id <> '${rowId(4)}'`],
  [
    'INSERT ... ON CONFLICT DO NOTHING',
    (t) =>
      `insert into ${t.table} (${columnsOf(t)}) values (${valuesOf(t, 1)}), (${valuesOf(t, 5)}) on conflict do nothing`,
  ],
  [
    'INSERT ... ON CONFLICT DO UPDATE',
    (t) =>
      `insert into ${t.table} as t (${columnsOf(t)}) values (${valuesOf(t, 1)}), (${valuesOf(t, 2)}), (${valuesOf(t, 5)})
       on conflict (id) do update set ${t.change.replace('value +', 't.value +')}`,
  ],
  [
    'MERGE that inserts, updates and deletes',
    (t) =>
      `merge into ${t.table} as t
       using (values ('${rowId(1)}'::uuid), ('${rowId(2)}'), ('${rowId(3)}'), ('${rowId(5)}'), ('${rowId(6)}')) as s (id) on t.id = s.id
       when matched and t.id = '${rowId(2)}' then delete
       when matched and t.id = '${rowId(3)}' then do nothing
       when matched then update set ${t.change}
       when not matched and s.id = '${rowId(5)}' then insert (${columnsOf(t)}) values (${valuesOf(t, 5)})
       when not matched then insert (${columnsOf(t)}) values (${valuesOf(t, 6)})`,
  ],
  [
    'a CTE that inserts, updates and deletes, here and in another table',
    (t) =>
      `with gone as (delete from ${t.table} where id = '${rowId(1)}' returning id),
            changed as (update ${t.table} set ${t.change} where id = '${rowId(2)}' returning id),
            added as (insert into ${t.table} (${columnsOf(t)}) values (${valuesOf(t, 5)}), (${valuesOf(t, 6)}) returning id),
            noted as (insert into ${t.table === 'notes' ? 'clients (organization_id, name)' : 'notes (organization_id, body)'}
                      select '${tenant}', 'about ' || id from added returning id)
       insert into ${t.table} (${columnsOf(t)}) select ${valuesOf(t, 7)} from changed, gone`,
  ],
  ['a cascade of ON UPDATE', () => `update owners set id = '${rowId(9)}'`],
  ['a cascade of ON DELETE', () => 'delete from owners'],
  [
    'statements of one transaction, with a savepoint that is rolled back',
    (t) =>
      `begin;
       update ${t.table} set ${t.change} where id = '${rowId(1)}';
       savepoint here;
       delete from ${t.table};
       rollback to here;
       delete from ${t.table} where id = '${rowId(2)}';
       commit`,
  ],
];

let database: TestDatabase;
let receiver: Receiver;
let daemon: Daemon;
let webhook: TestWebhook;
let writer: pg.Client;
let reader: pg.Client;
/** Requests that were accounted for. */
let seen = 0;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  receiver = await startReceiver();
  webhook = await createWebhook(database, {
    tenant_id: tenant,
    name: 'E2E "quoted" ü',
    url: receiver.url('/in'),
    max_in_flight: 50,
  });
  await database.query(`insert into rowhook.webhook_tenants (id, name, slug) values ($1, 'Acme "Inc" ü', 'acme')`, [
    tenant,
  ]);
  await database.query('create table owners (id uuid primary key)');
  for (const { table } of tables) {
    await database.query(
      `alter table ${table} add column owned_by uuid references owners on update cascade on delete cascade`,
    );
  }
  await database.query('select rowhook.reconcile()');
  [writer, reader] = [new pg.Client(database.url), new pg.Client(database.url)];
  await Promise.all([writer.connect(), reader.connect()]);
  await writer.query("set timezone = 'Asia/Kathmandu'; set datestyle = 'German'");
  await reader.query("set timezone = 'UTC'");
  daemon = await startTestDaemon(database);
});

beforeEach(async () => {
  await writer.query("set rowhook.mute = 'on'; delete from notes; delete from deals; delete from projects");
  await writer.query(
    `delete from contacts; delete from clients; delete from owners; insert into owners values ('${rowId(8)}')`,
  );
  for (const t of tables) {
    for (let n = 1; n <= 4; n++) {
      await writer.query(
        `insert into ${t.table} (${columnsOf(t)}, owned_by, created_at, updated_at)
         values (${valuesOf(t, n)}, ${n === 4 ? 'null' : `'${rowId(8)}'`}, '2020-01-01', '2020-01-01')`,
      );
    }
  }
  await writer.query("set rowhook.mute = 'off'");
});

afterAll(async () => {
  await daemon?.stop();
  await Promise.all([writer.end(), reader.end(), receiver.close()]);
  await database.drop();
});

/** Table → id → the row, and its columns in order, all as JSON text. */
type State = Map<CrmTable, Map<string, { whole: string; columns: [name: string, value: string][] }>>;

async function state(): Promise<State> {
  const found: State = new Map();
  for (const t of tables) {
    const { rows } = await reader.query(
      `select id::text, row_to_json(t)::text as whole,
              (select json_agg(json_build_array(key, value::text)) from json_each(row_to_json(t))) as columns from ${t.table} t`,
    );
    found.set(t, new Map(rows.map(({ id, whole, columns }) => [id, { whole, columns }])));
  }
  return found;
}

/** `deal.updated`, the JSON text of data and, of an update, of previous. */
type Expected = [event: string, data: string, previous: string | undefined];

function changesBetween(before: State, after: State): Expected[] {
  const expected: Expected[] = [];
  for (const t of tables) {
    const [was, is] = [before.get(t), after.get(t)];
    for (const [id, row] of is ?? []) {
      const old = was?.get(id);
      if (!old) {
        expected.push([`${t.prefix}.created`, row.whole, undefined]);
        continue;
      }
      const changed = old.columns.filter(([, value], index) => row.columns[index]?.[1] !== value);
      if (changed.every(([name]) => name === 'updated_at')) continue;
      const previous = `{${changed.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`;
      const derived = changed.flatMap(([name]) => t.derived[name] ?? []);
      for (const event of [`${t.prefix}.updated`, ...derived]) expected.push([event, row.whole, previous]);
    }
    for (const [id, row] of was ?? []) {
      if (!is?.has(id)) expected.push([`${t.prefix}.deleted`, row.whole, undefined]);
    }
  }
  return expected;
}

/** Runs a statement and waits for what must come of it. */
async function expectDelivered(write: () => Promise<unknown>): Promise<Expected[]> {
  const before = await state();
  await write();
  const expected = changesBetween(before, await state());
  const requests = (await receiver.waitFor(seen + expected.length)).slice(seen);
  seen += expected.length;
  expect(requests.map(contentOf).sort()).toEqual(expected.map((one) => JSON.stringify(one)).sort());
  return expected;
}

/** Checks a request by every rule of the wire, and returns what it says as one text, to be compared. */
function contentOf(request: ReceivedRequest): string {
  verifyRequest(request, webhook.secret);
  const { headers } = request;
  const body = request.body.toString();
  const { id, event, timestamp, metadata, ...rest } = JSON.parse(body);
  expect(request.method).toBe('POST');
  expect(headers).toMatchObject({
    'content-type': 'application/json',
    'content-length': String(request.body.length),
    'webhook-id': id,
    'webhook-timestamp': expect.stringMatching(/^\d{10}$/),
    'webhook-signature': expect.stringMatching(/^v1,[A-Za-z0-9+/]{43}=$/),
    'x-webhook-event': event,
    'x-webhook-timestamp': expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    'x-webhook-signature': expect.stringMatching(/^[0-9a-f]{64}$/),
    'x-webhook-delivery': metadata.delivery_id,
  });
  expect(headers['user-agent']).toMatch(/^rowhook\/\d+\.\d+\.\d+/);
  expect(Math.floor(Date.parse(headers['x-webhook-timestamp'] as string) / 1000)).toBe(
    Number(headers['webhook-timestamp']),
  );
  expect(id).toMatch(/^evt_[^.]+$/);
  expect(timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  expect(Math.abs(Date.parse(timestamp) - Date.now())).toBeLessThan(60_000);
  expect(metadata.delivery_id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);

  // the body is these parts and nothing else, byte for byte
  const head = `{"id":"${id}","event":"${event}","timestamp":"${timestamp}","organization":{"id":"${tenant}","name":"Acme \\"Inc\\" ü","slug":"acme"},"data":`;
  const tail = `,"metadata":{"webhook_id":"${webhook.id}","webhook_name":"E2E \\"quoted\\" ü","delivery_id":"${metadata.delivery_id}"}}`;
  expect(body.slice(0, head.length)).toBe(head);
  expect(body.slice(-tail.length)).toBe(tail);
  const [data, previous, ...more] = body.slice(head.length, -tail.length).split(',"previous":');
  expect(more).toEqual([]);
  expect(Object.keys(rest)).toEqual(
    previous === undefined ? ['organization', 'data'] : ['organization', 'data', 'previous'],
  );
  return JSON.stringify([event, data, previous]);
}

describe.each(tables)('$table', (t) => {
  test.each(ways)('%s', async (_, write) => {
    const expected = await expectDelivered(() => writer.query(write(t)));
    expect(expected.length).toBeGreaterThan(0);
  });

  test('COPY', async () => {
    const text = `${rowId(5)}\t${tenant}\ttab\\tnewline\\nquote"backslash\\\\ü😀${t.table === 'contacts' ? '\tLast' : ''}\n`;
    const rows = text + text.replace(rowId(5), rowId(6));
    const expected = await expectDelivered(() => copyIn(writer, `copy ${t.table} (${columnsOf(t)}) from stdin`, rows));
    expect(expected).toHaveLength(2);
  });
});

test("the CRM's own cascades: a deleted client and a deleted contact", async () => {
  await writer.query("set rowhook.mute = 'on'");
  await writer.query(`update contacts set client_id = '${rowId(1)}'; update projects set client_id = '${rowId(1)}'`);
  await writer.query(`update deals set contact_id = '${rowId(1)}'; update notes set contact_id = '${rowId(2)}'`);
  await writer.query("set rowhook.mute = 'off'");
  const client = await expectDelivered(() => writer.query(`delete from clients where id = '${rowId(1)}'`));
  expect(client.map(([event]) => event).sort()).toEqual([
    'clients.deleted',
    ...Array(4).fill('contact.updated'),
    ...Array(4).fill('projects.deleted'),
  ]);
  const contacts = await expectDelivered(() => writer.query('delete from contacts'));
  expect(contacts.map(([event]) => event).sort()).toEqual([
    ...Array(4).fill('contact.deleted'),
    ...Array(4).fill('deal.deleted'),
    ...Array(4).fill('notes.deleted'),
  ]);
});

test('one statement for several tenants reaches only those with webhooks, each with its own rows', async () => {
  const before = receiver.requests.length;
  await writer.query(
    `insert into clients (organization_id, name)
     select case n % 3 when 0 then '${tenant}'::uuid else gen_random_uuid() end, 'client ' || n from generate_series(1, 9) as n`,
  );
  const requests = (await receiver.waitFor(before + 3)).slice(before);
  seen += 3;
  expect(requests.map(({ body }) => JSON.parse(body.toString()).data.name)).toEqual([
    'client 3',
    'client 6',
    'client 9',
  ]);
});

test('nothing else came: every event once, and every attempt logged', async () => {
  await caughtUp(database);
  await daemon.stop();
  expect(receiver.requests).toHaveLength(seen);
  expect(new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size).toBe(seen);
  const logged = await database.query(
    `select count(*)::int as attempts, count(distinct delivery_id)::int as deliveries, min(status) || max(status) as status from rowhook.webhook_logs`,
  );
  expect(logged).toEqual([{ attempts: seen, deliveries: seen, status: 'successsuccess' }]);
  expect(await database.query('select from rowhook.webhook_deliveries')).toEqual([]);
});
