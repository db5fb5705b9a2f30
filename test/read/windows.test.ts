import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { renewLanes, takeLanes } from '../../src/daemon/lane-rows.ts';
import type { Change, Position, Window } from '../../src/model.ts';
import { Unsettled } from '../../src/queue/unsettled.ts';
import { LeftOut, LeftOutOfWindow } from '../../src/read/left-out.ts';
import { readPulse } from '../../src/read/pulse.ts';
import { ReadAhead } from '../../src/read/read-ahead.ts';
import { Reader } from '../../src/read/reader.ts';
import { allOf, type Scope } from '../../src/read/scope.ts';
import { parseSnapshot, READER_SETTINGS, readWindow } from '../../src/read/windows.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitUntil } from '../support/wait.ts';

const ALL_LANES = Array.from({ length: 16 }, (_, lane) => lane);
const MIB = 1024 * 1024;
/** What is not left out of a page, although it is long: it compresses well. */
const LONG = MIB / 4;

let database: TestDatabase;
let reader: pg.Client;
let writers: pg.Client[] = [];

beforeAll(async () => {
  database = await createDatabase();
  reader = await client();
  await reader.query(READER_SETTINGS);
});
afterAll(async () => {
  await reader.end();
  await database.drop();
});
beforeEach(async () => {
  writers = await Promise.all(Array.from({ length: 3 }, client));
});
afterEach(async () => {
  for (const writer of writers) await writer.end();
  for (const { gid } of await database.query('select gid from pg_prepared_xacts where database = current_database()'))
    await database.query(`rollback prepared '${gid}'`);
});

async function client(): Promise<pg.Client> {
  const connected = new pg.Client(database.url);
  connected.on('error', () => {});
  await connected.connect();
  return connected;
}

/** Emits an event and says which outbox row it is. */
async function emit(by: pg.Client | TestDatabase, data: unknown = {}, tenant = 'acme'): Promise<string> {
  const { rows } = (await ('pool' in by ? by.pool : by).query("select rowhook.emit('a.b', $1, $2) as id", [
    JSON.stringify(data),
    tenant,
  ])) as { rows: { id: string }[] };
  return rows[0]?.id as string;
}

/** `count` events of `bytes` each by one statement. */
function emitMany(count: number, { bytes = 10, tenant = "'acme'" } = {}): Promise<unknown> {
  return database.query(
    `select count(rowhook.emit('a.b', to_json(repeat('x', ${bytes})), ${tenant})) from generate_series(1, ${count}) as n`,
  );
}

/** Reads on and on from a position, as a daemon does with its lanes. */
class Follower {
  position: Position;
  readonly scope: Scope;
  readonly by: pg.Client;

  private constructor(position: Position, lanes: readonly number[], by: pg.Client) {
    this.position = position;
    this.scope = allOf(lanes);
    this.by = by;
  }

  static async fromNow(lanes: readonly number[] = ALL_LANES, by = reader): Promise<Follower> {
    const { snapshot, sequenceValue } = await readPulse(by);
    const at = new Date().toISOString();
    return new Follower({ from: snapshot, to: null, lastId: null, at, sequenceValue }, lanes, by);
  }

  /** Goes on where a window says that somebody has much in it: all of it is read here. */
  async next(until?: Position): Promise<Window> {
    const window = await readWindow(this.by, this.scope, this.position, until);
    this.position = window.after;
    return window.heavy ? this.next(until) : window;
  }

  /** All pages up to the end of the window that `until` or the present makes. */
  async pages(until?: Position): Promise<Change[][]> {
    const pages: Change[][] = [];
    do {
      const { changes } = await this.next(until);
      if (changes.length > 0) pages.push(changes);
    } while (this.position.to !== null);
    return pages;
  }

  async ids(): Promise<string[]> {
    return (await this.pages()).flat().map(({ id }) => id);
  }
}

const ascending = (ids: readonly string[]) => [...ids].sort((a, b) => Number(BigInt(a) - BigInt(b)));

describe('a window', () => {
  test('holds what has committed since the one before, and nothing twice', async () => {
    const follower = await Follower.fromNow();
    const first = [await emit(database), await emit(database)];
    expect(await follower.ids()).toEqual(first);
    expect(await follower.ids()).toEqual([]);
    const second = [await emit(database)];
    expect(await follower.ids()).toEqual(second);
  });

  test('carries every column as PostgreSQL prints it', async () => {
    const follower = await Follower.fromNow();
    const data = '{"n" : 12345678901234567890.10, "n":1e400, "t":"\\u0000"}';
    const webhook = randomUUID();
    await database.query(
      `insert into rowhook.webhook_outbox (occurred_at, source_id, lane, tenant_id, event_types, row_key, data, previous, truncated, test_webhook_id)
       values ('2025-10-17 19:30:00.123999+00', 7, 3, 'a,b', '{deal.updated,deal.stage.changed}', '(1,2)', $1, '{}', 'too_large', $2)`,
      [data, webhook],
    );
    const { changes, after } = await follower.next();
    expect(changes).toEqual([
      {
        id: expect.stringMatching(/^\d+$/),
        lane: 3,
        tenantId: 'a,b',
        sourceId: 7,
        eventTypes: ['deal.updated', 'deal.stage.changed'],
        rowKey: '(1,2)',
        occurredAt: Date.parse('2025-10-17T19:30:00.123Z'),
        data,
        previous: '{}',
        truncated: 'too_large',
        testWebhookId: webhook,
      },
    ]);
    expect(after).toMatchObject({ to: null, lastId: null, sequenceValue: changes[0]?.id });
  });

  test('does not skip a late commit', async () => {
    const follower = await Follower.fromNow();
    const [early, other] = writers as [pg.Client, pg.Client];
    await early.query('begin');
    const late = await emit(early);
    const prompt = await emit(other);
    expect(await follower.ids()).toEqual([prompt]);
    // a straggler stays one over any number of windows
    const next = await emit(other);
    expect(await follower.ids()).toEqual([next]);
    expect(await follower.ids()).toEqual([]);
    await early.query('commit');
    expect(await follower.ids()).toEqual([late]);
    expect(await follower.ids()).toEqual([]);
  });

  test('holds a row whose id is below all that was read, whether it is a straggler or from a later transaction', async () => {
    const follower = await Follower.fromNow();
    const [straggler, newcomer, other] = writers as [pg.Client, pg.Client, pg.Client];
    const insertAs = (by: pg.Client, id: string) =>
      by.query("insert into rowhook.webhook_outbox (id, lane, tenant_id, event_types) values ($1, 0, 'a', '{a.b}')", [
        id,
      ]);
    const { rows } = await newcomer.query(
      "select nextval('rowhook.webhook_outbox_id_seq') as id from generate_series(1, 2)",
    );
    const [first, second] = rows.map(({ id }) => id);
    // the newcomer has taken its id but no transaction id yet: no snapshot can know of it
    await straggler.query('begin');
    await straggler.query('select pg_current_xact_id()');
    const read = await emit(other);
    expect(await follower.ids()).toEqual([read]);
    await insertAs(newcomer, second);
    await insertAs(straggler, first);
    await straggler.query('commit');
    expect(await follower.ids()).toEqual([first, second]);

    // and the same where the window is a large one, which begins at its smallest id
    const low = (await newcomer.query("select nextval('rowhook.webhook_outbox_id_seq') as id")).rows[0].id;
    await emitMany(600);
    await insertAs(newcomer, low);
    const ids = await follower.ids();
    expect(ids).toHaveLength(601);
    expect(ids[0]).toBe(low);
  });

  test('holds what savepoints kept, and nothing of what they took back', async () => {
    const follower = await Follower.fromNow();
    const [writer, other] = writers as [pg.Client, pg.Client];
    await writer.query('begin');
    await writer.query('savepoint a');
    const kept = [await emit(writer)];
    await writer.query('savepoint b');
    await emit(writer);
    await writer.query('rollback to b');
    kept.push(await emit(writer));
    await writer.query('release a');
    // read while all of its subtransactions run
    const prompt = await emit(other);
    expect(await follower.ids()).toEqual([prompt]);
    await writer.query('commit');
    expect(await follower.ids()).toEqual(kept);
  });

  test('holds the rows of more subtransactions than a snapshot lists', async () => {
    const follower = await Follower.fromNow();
    const [writer, other] = writers as [pg.Client, pg.Client];
    await writer.query('begin');
    // every exception block is a subtransaction; above 64 a backend no longer lists them
    await writer.query(`do $$ begin
      for n in 1 .. 200 loop
        begin
          perform rowhook.emit('a.b', to_json(n), 'acme');
          if n % 2 = 0 then raise exception 'taken back'; end if;
        exception when raise_exception then null;
        end;
      end loop;
    end $$`);
    const prompt = await emit(other);
    expect(await follower.ids()).toEqual([prompt]);
    await writer.query('commit');
    const changes = (await follower.pages()).flat();
    expect(changes.map(({ data }) => Number(data))).toEqual(Array.from({ length: 100 }, (_, n) => 2 * n + 1));
  });

  test('holds nothing of a rollback, whenever it came', async () => {
    const follower = await Follower.fromNow();
    const [writer] = writers as [pg.Client];
    await writer.query('begin');
    await emit(writer);
    expect(await follower.ids()).toEqual([]);
    await writer.query('rollback');
    expect(await follower.ids()).toEqual([]);
  });

  test('holds a prepared transaction once it is committed, by whomever', async () => {
    const follower = await Follower.fromNow();
    const [writer, other] = writers as [pg.Client, pg.Client];
    const [kept, dropped] = [`kept ${database.name}`, `dropped ${database.name}`];
    await writer.query('begin');
    const id = await emit(writer);
    await writer.query(`prepare transaction '${kept}'`);
    await writer.query('begin');
    await emit(writer);
    await writer.query(`prepare transaction '${dropped}'`);
    const prompt = await emit(other);
    expect(await follower.ids()).toEqual([prompt]);
    await writer.end();
    await other.query(`rollback prepared '${dropped}'`);
    expect(await follower.ids()).toEqual([]);
    await other.query(`commit prepared '${kept}'`);
    expect(await follower.ids()).toEqual([id]);
  });

  test('keeps the order of the changes to one row, however transaction ids lie', async () => {
    const follower = await Follower.fromNow();
    const [first, second] = writers as [pg.Client, pg.Client];
    await database.query('create table if not exists counter (id int primary key, n int)');
    await database.query('insert into counter values (1, 0) on conflict do nothing');
    const change = async (by: pg.Client) => {
      const { rows } = await by.query('update counter set n = n + 1 where id = 1 returning n');
      return emit(by, rows[0].n);
    };
    // the one that writes last has the smaller transaction id
    await second.query('begin');
    await second.query('select pg_current_xact_id()');
    await first.query('begin');
    const ids = [await change(first)];
    await first.query('commit');
    ids.push(await change(second));
    await second.query('commit');
    expect(await follower.ids()).toEqual(ids);
  });

  test('holds the lanes that were asked for only', async () => {
    const tenants = Array.from({ length: 40 }, (_, n) => `tenant ${n}`);
    const mine = await Follower.fromNow([0, 1, 2, 3, 4, 5, 6, 7]);
    const others = await Follower.fromNow([8, 9, 10, 11, 12, 13, 14, 15]);
    const written = [];
    for (const tenant of tenants) written.push(await emit(database, {}, tenant));
    const found = [(await mine.next()).changes, (await others.next()).changes] as const;
    expect(found[0].every(({ lane }) => lane < 8) && found[1].every(({ lane }) => lane >= 8)).toBe(true);
    expect(Math.min(found[0].length, found[1].length)).toBeGreaterThan(0);
    expect(ascending(found.flat().map(({ id }) => id))).toEqual(written);
  });
});

describe('a large window', () => {
  test('comes in pages by id, and what commits meanwhile comes after it', async () => {
    const follower = await Follower.fromNow();
    const [open, other] = writers as [pg.Client, pg.Client];
    await open.query('begin');
    const late = await emit(open);
    await emitMany(1_234);
    const first = await follower.next();
    expect(first.changes).toHaveLength(500);
    expect(first.more).toBe(true);
    expect(first.after.to).not.toBeNull();

    await open.query('commit');
    const newer = await emit(other);
    const rest = await follower.pages();
    // whoever takes over looks for what was begun from the page on, not from the beginning of a window of hours
    expect(Date.parse(follower.position.at)).toBeGreaterThan(Date.parse(first.after.at));
    expect(rest.map((page) => page.length)).toEqual([500, 234]);
    const ids = [first.changes, ...rest].flat().map(({ id }) => id);
    expect(ids).toEqual(ascending(ids));
    expect(new Set(ids).size).toBe(1_234);
    expect(await follower.ids()).toEqual([late, newer]);
  });

  test.each([500, 501, 1_001])('of %i rows is whole', async (count) => {
    const follower = await Follower.fromNow();
    await emitMany(count);
    const pages = await follower.pages();
    expect(new Set(pages.flat().map(({ id }) => id)).size).toBe(count);
    expect(Math.max(...pages.map((page) => page.length))).toBe(500);
    expect(await follower.ids()).toEqual([]);
  });

  test('says first who has more than half of a page in it, so that others are read without waiting for them', async () => {
    const follower = await Follower.fromNow();
    await emitMany(300, { tenant: "'large ' || n % 2" });
    const before = await emit(database, {}, 'small');
    await emitMany(600, { tenant: "'large ' || n % 2" });
    const { position, scope } = follower;
    const { changes, after, more, heavy = [] } = await readWindow(reader, scope, position);
    expect({ changes, more }).toEqual({ changes: [], more: true });
    expect(heavy.map(({ tenantId }) => tenantId).sort()).toEqual(['large 0', 'large 1']);
    expect(after.to).not.toBeNull();
    const others = { ...scope, excluded: heavy.map(({ tenantId }) => tenantId) };
    expect((await readWindow(reader, others, after)).changes.map(({ id }) => id)).toEqual([before]);
    for (const { tenantId, lane, position: own } of heavy) {
      const first = await readWindow(reader, { lanes: [lane], tenantId, excluded: [] }, own);
      expect(first.changes.every((change) => change.tenantId === tenantId)).toBe(true);
      expect(BigInt(first.changes[0]?.id as string) - BigInt(own.lastId as string)).toBe(1n);
    }
  });

  test('goes on inside a transaction for whoever takes the position over', async () => {
    const follower = await Follower.fromNow();
    await emitMany(700);
    const { changes } = await follower.next();
    const successor = await client();
    try {
      await successor.query(READER_SETTINGS);
      const next = await readWindow(successor, allOf(ALL_LANES), { ...follower.position });
      expect(next.changes).toHaveLength(200);
      expect(next.changes[0]?.id).toBe(String(BigInt(changes.at(-1)?.id as string) + 1n));
      expect(next.after).toMatchObject({ to: null, lastId: null });
    } finally {
      await successor.end();
    }
  });

  test('mixes stragglers with the rest, in the order of their ids', async () => {
    const follower = await Follower.fromNow();
    const [straggler] = writers as [pg.Client];
    await straggler.query('begin');
    const written = [await emit(straggler)];
    expect(await follower.ids()).toEqual([]);
    for (let round = 0; round < 3; round++) {
      await emitMany(300);
      written.push(await emit(straggler));
    }
    await straggler.query('commit');
    const ids = await follower.ids();
    expect(ids).toHaveLength(904);
    expect(ids).toEqual(ascending(ids));
    expect(ids.filter((id) => written.includes(id))).toEqual(written);
  });

  test('is cut where its payloads reach 16 MiB', async () => {
    const follower = await Follower.fromNow();
    await emitMany(150, { bytes: LONG - 2 });
    const pages = await follower.pages();
    // the row that crosses the limit still belongs to the page
    expect(pages.map((page) => page.length)).toEqual([65, 65, 20]);
    expect(new Set(pages.flat().map(({ id }) => id)).size).toBe(150);
  });

  test('of large rows asks for about as many as a page can hold', async () => {
    const follower = await Follower.fromNow();
    await emitMany(200, { bytes: LONG - 2 });
    const asked: number[] = [];
    const query = reader.query.bind(reader);
    reader.query = ((config: { name?: string; values?: unknown[] }, ...rest: []) => {
      if (config.name === 'rowhook_read_page') asked.push(config.values?.[4] as number);
      return query(config as pg.QueryConfig, ...rest);
    }) as typeof reader.query;
    try {
      expect((await follower.pages()).map((page) => page.length)).toEqual([65, 65, 65, 5]);
    } finally {
      reader.query = query;
    }
    expect(Math.max(...asked)).toBeLessThanOrEqual(131);
    // and of small ones, later, for many again
    await emitMany(1_200);
    const pages = (await follower.pages()).map((page) => page.length);
    expect(pages.at(-2)).toBe(500);
    expect(pages.reduce((sum, length) => sum + length)).toBe(1_200);
  });

  test('leaves out what is too large, which is read by itself', async () => {
    const follower = await Follower.fromNow();
    const before = await emit(database, 'small');
    // one compresses well, and is larger than a page may be; one hardly compresses
    const digits = "(select string_agg((random() * 1e9)::int::text, '') from generate_series(1, 100000))";
    await database.query(
      `insert into rowhook.webhook_outbox (lane, tenant_id, event_types, data, previous)
       values (0, 'a', '{a.b}', to_json(repeat('x', ${20 * MIB})), '{"n" : 1}'), (0, 'b', '{a.b}', to_json(${digits}), null)`,
    );
    const after = await emit(database, 'small');
    const { changes } = await follower.next();
    expect(changes.map(({ id }) => id)).toEqual([before, ...changes.slice(1, 3).map(({ id }) => id), after]);
    const [first, long, random, last] = changes;
    for (const small of [first, last]) expect(small).toMatchObject({ data: '"small"' });
    for (const large of [long, random])
      expect(large).toMatchObject({ data: null, previous: null, leftOut: expect.any(Number) });

    const problems: string[] = [];
    const leftOut = new LeftOut(database.pool, (_, reason) => problems.push(reason));
    // a few megabytes at a time
    const [one, ...others] = await leftOut.read(changes.slice(1), () => true);
    expect(others).toEqual([]);
    expect(one).toEqual({ ...long, leftOut: undefined, data: expect.any(String), previous: '{"n" : 1}' });
    expect(one?.data).toHaveLength(20 * MIB + 2);
    const [two] = await leftOut.read(changes.slice(2), () => true);
    expect(two?.data).toMatch(/^"[0-9]{500000,}"$/);
    // only what somebody wants
    const wanted = await leftOut.read(changes.slice(1), ({ tenantId }) => tenantId === 'b');
    expect(wanted.map(({ id }) => id)).toEqual([random?.id]);
    expect(problems).toEqual([]);
    // an outbox that was emptied by hand
    await database.query('delete from rowhook.webhook_outbox where id = $1', [long?.id]);
    const [lost] = await leftOut.read([long as Change], () => true);
    expect(lost).toMatchObject({ data: null, unreadable: 'its row is not in the outbox any more' });
    expect(problems).toEqual(['its row is not in the outbox any more']);
  });

  test('reads some megabytes of them for all together, and more for a tenant that lags', async () => {
    const leftOut = new LeftOut(database.pool, () => {});
    const large = Array.from(
      { length: 8 },
      (_, n) => ({ id: String(-n), tenantId: 'a', leftOut: 1.5 * MIB }) as Change,
    );
    const read = async (of: LeftOutOfWindow, wanted = true) => {
      for (const [n] of large.entries()) if (!(await of.whole(large.slice(n), () => wanted))) return n;
      return large.length;
    };
    expect(await read(new LeftOutOfWindow(leftOut, false))).toBe(2);
    expect(await read(new LeftOutOfWindow(leftOut, false), false)).toBe(8);
    expect(await read(new LeftOutOfWindow(leftOut, true))).toBe(8);
    // however large the first one is
    const huge = [{ ...large[0], leftOut: 99 * MIB } as Change, ...large];
    const lanes = new LeftOutOfWindow(leftOut, false);
    expect(await lanes.whole(huge, () => true)).toMatchObject({ id: huge[0]?.id });
    expect(await lanes.whole(large, () => true)).toBeUndefined();
  });
});

describe('two groups of lanes', () => {
  const lower = [0, 1, 2, 3, 4, 5, 6, 7];
  const upper = [8, 9, 10, 11, 12, 13, 14, 15];
  const spread = "'tenant ' || n";

  test.each([30, 1_500])('at different positions meet, with %i events between them', async (count) => {
    const [ahead, behind] = [await Follower.fromNow(lower), await Follower.fromNow(upper)];
    const [open] = writers as [pg.Client];
    await open.query('begin');
    await open.query("select rowhook.emit('a.b', '0', 'tenant ' || n) from generate_series(1, 50) as n");
    const read: Change[] = [];
    await emitMany(count, { tenant: spread });
    read.push(...(await ahead.pages()).flat());
    await open.query('commit');
    await emitMany(count, { tenant: spread });
    read.push(...(await ahead.pages()).flat());
    await emitMany(20, { tenant: spread });

    // the one behind reads up to where the first one stands, and no further
    read.push(...(await behind.pages(ahead.position)).flat());
    expect(behind.position).toMatchObject({ from: ahead.position.from, to: null, lastId: null });
    const together = await readWindow(reader, allOf([...lower, ...upper]), ahead.position);
    expect(together.changes).toHaveLength(20);
    read.push(...together.changes);
    expect(new Set(read.map(({ id }) => id)).size).toBe(read.length);
    expect(read).toHaveLength(2 * count + 70);
  });

  test('meet as well when nothing happened between them', async () => {
    const ahead = await Follower.fromNow(lower);
    const behind = await Follower.fromNow(upper);
    await database.query('select pg_current_xact_id()');
    await ahead.next();
    const { changes, more } = await behind.next(ahead.position);
    expect({ changes, more }).toEqual({ changes: [], more: false });
    expect(behind.position.from).toBe(ahead.position.from);
  });
});

test('concurrent writers: what was acknowledged is read, once, and each row in order', async () => {
  const follower = await Follower.fromNow();
  await database.query('create table balance (id int primary key, n int not null default 0)');
  await database.query('insert into balance select n from generate_series(1, 8) as n');
  const until = performance.now() + 1_500;
  const acknowledged = new Set<string>();
  // A slow machine goes on until there is something to judge.
  const goesOn = () => performance.now() < until || acknowledged.size <= 50;
  const write = async (seed: number) => {
    const writer = await client();
    for (let turn = seed; goesOn(); turn++) {
      const mine: string[] = [];
      const row = (turn % 8) + 1;
      await writer.query('begin');
      if (turn % 3 === 0) await writer.query('select pg_current_xact_id()');
      await writer.query('savepoint s');
      const { rows } = await writer.query('update balance set n = n + 1 where id = $1 returning n', [row]);
      mine.push(await emit(writer, { row, n: rows[0].n }));
      if (turn % 4 === 0) await writer.query('release s');
      if (turn % 5 === 0) {
        await writer.query('savepoint t');
        await emit(writer);
        await writer.query('rollback to t');
      }
      if (turn % 7 === 0) await writer.query("select rowhook.emit('a.b', '{}', 'acme') from generate_series(1, 40)");
      if (turn % 6 === 0) {
        await writer.query('rollback');
        continue;
      }
      await writer.query('commit');
      for (const id of mine) acknowledged.add(id);
    }
    await writer.end();
  };
  let writing = true;
  const writersDone = Promise.all(Array.from({ length: 16 }, (_, n) => write(n))).finally(() => {
    writing = false;
  });
  const read: Change[] = [];
  while (writing) read.push(...(await follower.next()).changes);
  await writersDone;
  read.push(...(await follower.pages()).flat(), ...(await follower.pages()).flat());

  const ids = new Set(read.map(({ id }) => id));
  expect(read.length).toBe(ids.size);
  expect([...acknowledged].filter((id) => !ids.has(id))).toEqual([]);
  const counts = await database.query<{ rows: number }>('select count(*)::int as rows from rowhook.webhook_outbox');
  expect(counts[0]?.rows).toBeGreaterThanOrEqual(ids.size);
  for (let row = 1; row <= 8; row++) {
    const states = read.flatMap(({ data }) => {
      const value = JSON.parse(data ?? 'null');
      return value?.row === row ? [value.n as number] : [];
    });
    expect(states, `row ${row}`).toEqual([...states].sort((a, b) => a - b));
  }
});

describe('after one bulk statement, when the statistics say that all rows share one transaction', () => {
  const slots = 8;
  const rows = 20_000;

  beforeAll(async () => {
    await database.query('truncate rowhook.webhook_outbox');
    await database.query(
      `insert into rowhook.webhook_outbox (slot, lane, tenant_id, event_types, data)
       select n % ${slots}, n % 16, 'acme', '{a.b}', '{}' from generate_series(1, ${rows}) as n`,
    );
    await database.query('analyze rowhook.webhook_outbox');
  });

  interface Plan {
    'Node Type': string;
    'Relation Name'?: string;
    'Index Name'?: string;
    'Sort Key'?: string[];
    'Shared Hit Blocks': number;
    'Shared Read Blocks': number;
    Plans?: Plan[];
  }

  /** The plan of a statement as the reading session runs it, once the driver has prepared it under its name. */
  async function planOf(statement: string, values: string[]): Promise<{ nodes: Plan[]; blocks: number }> {
    const { rows: found } = await reader.query(
      `explain (analyze, buffers, costs off, format json) execute ${statement} (${values.map((value) => `'${value}'`).join(', ')})`,
    );
    const root = found[0]['QUERY PLAN'][0].Plan as Plan;
    const nodes: Plan[] = [];
    const visit = (node: Plan) => {
      nodes.push(node);
      for (const child of node.Plans ?? []) visit(child);
    };
    visit(root);
    return { nodes, blocks: root['Shared Hit Blocks'] + root['Shared Read Blocks'] };
  }

  function expectIndexesOnly(nodes: readonly Plan[], index: RegExp): void {
    // sequences, which the hot read looks at as well, have no index
    const isSequence = (name = '') => name.endsWith('_seq') || name === 'doorbell';
    const types = nodes.filter((node) => !isSequence(node['Relation Name'])).map((node) => node['Node Type']);
    expect(types.filter((type) => /Seq Scan|Sort|Bitmap|Hash/.test(type))).toEqual([]);
    const used = nodes.flatMap((node) => node['Index Name'] ?? []);
    expect(new Set(used).size).toBeGreaterThanOrEqual(slots);
    expect(used.filter((name) => !index.test(name))).toEqual([]);
  }

  const lanes = `{${ALL_LANES.join()}}`;

  test('the hot read goes by (xid, id), and touches few blocks when there is nothing', async () => {
    const follower = await Follower.fromNow();
    const { xmax } = parseSnapshot(follower.position.from);
    const stragglers = Array.from({ length: 30 }, (_, n) => BigInt(xmax) - 1n - BigInt(n));
    for (const running of ['', stragglers.toReversed().join()]) {
      // which of the two statements is prepared is up to what runs in the whole cluster, unless the snapshot is made up
      await readWindow(reader, allOf(ALL_LANES), {
        ...follower.position,
        from: `${stragglers.at(-1)}:${xmax}:${running}`,
      });
      const { nodes, blocks } = await (running === ''
        ? planOf('rowhook_read_hot_later', [lanes, xmax])
        : planOf('rowhook_read_hot', [lanes, xmax, `{${running}}`]));
      expectIndexesOnly(nodes, /xid_id_idx|_xid_idx/);
      // 8 slots, a few blocks each for the new ones and for each straggler
      expect(blocks).toBeLessThan(running === '' ? 50 : 1_000);
    }
  });

  test('the first id goes by (xid, id), a page by id', async () => {
    const follower = await Follower.fromNow();
    const from = follower.position.from;
    await emitMany(600);
    await follower.next();
    const { xmax } = parseSnapshot(from);
    const { to, lastId } = follower.position;
    const first = await planOf('rowhook_read_first', [xmax, '{}', lanes, from, to as string]);
    // the few tenants with much in the window are put in order, its rows are not
    const ofRows = first.nodes.filter((node) => !/\.n DESC$/.test(node['Sort Key']?.[0] ?? ''));
    expectIndexesOnly(ofRows, /xid_id_idx|_xid_idx/);
    expect(first.blocks).toBeLessThan(1_000);
    const page = await planOf('rowhook_read_page', [lastId as string, from, lanes, to as string, '501']);
    expectIndexesOnly(page.nodes, /_pkey/);
    expect(page.blocks).toBeLessThan(1_000);
  });
});

test('a window is read for as long as its statement may take: meanwhile the loop is not late, and after that it is', async () => {
  const reader = new pg.Client(database.url);
  await reader.connect();
  const stream = new Reader(reader, {
    lent: false,
    hears: () => true,
    ahead: new ReadAhead(new Unsettled()),
    // never
    take: () => new Promise(() => {}),
    onJoined: () => {},
    onCaughtUp: () => {},
    onUnrung: () => {},
  });
  const owner = randomUUID();
  await renewLanes(database.pool, owner, 'reader', false, false);
  stream.join(await takeLanes(database.pool, owner, [], 16));
  const blocker = new pg.Client(database.url);
  await blocker.connect();
  await blocker.query('begin; lock table rowhook.webhook_outbox in access exclusive mode');
  void stream.run().catch(() => {});
  await waitUntil('it waits for the lock', async () => {
    const [row] = await database.query(
      "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%webhook_outbox%' and pid = $1",
      [(reader as unknown as { processID: number }).processID],
    );
    return row !== undefined;
  });
  expect(stream.reads.lateMs).toBe(0);
  await blocker.end();
  await waitUntil('it is late', () => stream.reads.lateMs > 0);
  await reader.end();
});
