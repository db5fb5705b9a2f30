import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compileFilter, filterProblem, type Match, parseFilter } from '../../src/match/filter/filter.ts';
import { Row } from '../../src/match/filter/row.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { badFilters, goodFilters } from './filters.corpus.ts';

const row = `{ "id": 9007199254740993, "stage": "won", "value": 10000.50, "zero": 0, "note": null, "vip": true,
  "email": "anna@example.com", "closed_at": "2025-10-17T19:30:00", "tags": ["vip", 7, 1.50, null, ["in"]],
  "address": {"city": "Köln", "lines": ["a", "b"]}, "a\\u0062c": "\\u0041\\"\\n", "0": "zero",
  "huge": 1e400, "tiny": -1e-400, "__proto__": "own" }`;
const previous = '{"stage": "open", "value": 9000}';

function match(filter: string, data = row, before: string | undefined = previous): Match {
  return compileFilter(parseFilter(filter)).matches(new Row(data, before));
}

const holds = (condition: string, data?: string) => match(condition, data).matched;

describe('a condition', () => {
  test.each([
    // equality
    ['{"data.stage":"won"}', true],
    ['{"data.stage":"lost"}', false],
    ['{"data.stage":{"$eq":"won"}}', true],
    ['{"data.stage":{"$ne":"won"}}', false],
    ['{"data.stage":{"$ne":"lost"}}', true],
    ['{"data.vip":true}', true],
    ['{"data.vip":false}', false],
    ['{"data.note":null}', true],
    ['{"data.stage":null}', false],
    ['{"data.zero":false}', false],
    ['{"data.zero":null}', false],
    ['{"data.zero":""}', false],
    ['{"data.value":"10000.50"}', false],
    ['{"data.stage":{"$in":["lost","won"]}}', true],
    ['{"data.value":{"$in":["10000.50",10000.5]}}', true],
    ['{"data.stage":{"$nin":["lost","won"]}}', false],
    ['{"data.address":{"$ne":"x"}}', true],
    ['{"data.address":"composite"}', false],
    ['{"data.note":"null"}', false],
    // order
    ['{"data.value":{"$gt":10000}}', true],
    ['{"data.value":{"$gt":10000.5}}', false],
    ['{"data.value":{"$gte":10000.500}}', true],
    ['{"data.value":{"$lt":10000.51}}', true],
    ['{"data.value":{"$lte":10000.49}}', false],
    ['{"data.value":{"$gt":"1"}}', false],
    ['{"data.stage":{"$gt":1}}', false],
    ['{"data.note":{"$lte":0}}', false],
    ['{"data.address":{"$gte":""}}', false],
    ['{"data.closed_at":{"$gte":"2025-10-01","$lt":"2025-11-01"}}', true],
    ['{"data.closed_at":{"$lt":"2025-10-17"}}', false],
    ['{"data.stage":{"$gt":"won","$lte":"won"}}', false],
    ['{"data.stage":{"$gte":"wo"}}', true],
    // parts
    ['{"data.email":{"$startsWith":"anna@"}}', true],
    ['{"data.email":{"$startsWith":"example"}}', false],
    ['{"data.email":{"$endsWith":"@example.com"}}', true],
    ['{"data.email":{"$contains":"@exam"}}', true],
    ['{"data.email":{"$contains":""}}', true],
    ['{"data.email":{"$contains":"@Exam"}}', false],
    ['{"data.value":{"$startsWith":"1"}}', false],
    ['{"data.value":{"$contains":1}}', false],
    ['{"data.tags":{"$contains":"vip"}}', true],
    ['{"data.tags":{"$contains":"vi"}}', false],
    ['{"data.tags":{"$contains":7.0}}', true],
    ['{"data.tags":{"$contains":"7"}}', false],
    ['{"data.tags":{"$contains":1.5}}', true],
    ['{"data.tags":{"$contains":null}}', true],
    ['{"data.tags":{"$contains":"in"}}', false],
    ['{"data.tags":"vip"}', false],
    // paths
    ['{"data.address.city":"Köln"}', true],
    ['{"data.address.lines.1":"b"}', true],
    ['{"data.address.lines.01":"b"}', false],
    ['{"data.tags.4.0":"in"}', true],
    ['{"data.0":"zero"}', true],
    ['{"data.abc":"A\\"\\n"}', true],
    ['{"data.stage.length":3}', false],
    ['{"data.__proto__":"own"}', true],
    ['{"data.constructor":{"$exists":true}}', false],
    ['{"data.address.__proto__":{"$exists":true}}', false],
    ['{"previous.stage":"open"}', true],
    ['{"previous.stage":"open","data.stage":"won"}', true],
    // what is not there
    ['{"data.note":{"$exists":true}}', true],
    ['{"data.gone":{"$exists":false}}', true],
    ['{"data.gone":{"$exists":true}}', false],
    ['{"data.gone":null}', false],
    ['{"data.gone":{"$ne":"won"}}', true],
    ['{"data.gone":{"$nin":["won"]}}', true],
    ['{"data.gone":{"$not":{"$gt":1}}}', true],
    ['{"data.gone":{"$gt":1}}', false],
    ['{"data.gone":{"$lte":1}}', false],
    ['{"data.gone":{"$contains":""}}', false],
    ['{"data.gone.further":{"$exists":false}}', true],
    ['{"data.tags.9":{"$exists":false}}', true],
    // logic
    ['{}', true],
    ['{"data.stage":"won","data.value":{"$gt":10000}}', true],
    ['{"data.stage":"won","data.value":{"$gt":20000}}', false],
    ['{"$or":[{"data.stage":"lost"},{"data.vip":true}]}', true],
    ['{"$or":[{"data.stage":"lost"},{"data.vip":false}]}', false],
    ['{"$and":[{"data.stage":"won"},{"data.vip":true}]}', true],
    ['{"$not":{"data.stage":"won","data.vip":false}}', true],
    ['{"$not":{"data.stage":"won","data.vip":true}}', false],
    ['{"data.value":{"$or":[{"$lt":1},{"$gt":9000,"$lt":11000}]}}', true],
    ['{"data.stage":{"$or":["lost","won"]}}', true],
    ['{"data.stage":{"$not":"won"}}', false],
    ['{"data.stage":{"$not":{"$in":["lost"]}}}', true],
  ])('%s: %s', (filter, expected) => {
    expect(match(filter).matched).toBe(expected);
  });

  test('on previous, which only updates have: nothing is there on a create', () => {
    const onCreate = (filter: string) => compileFilter(parseFilter(filter)).matches(new Row(row, undefined)).matched;
    expect(onCreate('{"previous.stage":"open"}')).toBe(false);
    expect(onCreate('{"previous.stage":{"$exists":false}}')).toBe(true);
  });

  test('on a duplicate name meets the last one, as receivers do', () => {
    const data = '{"a":1,"b":{"c":1},"a":2,"b":{}}';
    expect(holds('{"data.a":2}', data)).toBe(true);
    expect(holds('{"data.b.c":{"$exists":true}}', data)).toBe(false);
  });
});

describe('an event that is not sent', () => {
  test.each([
    ['{"data.stage":"lost"}', '"data.stage" $eq "lost" does not hold'],
    ['{"data.stage":"won","data.value":{"$gt":1e5}}', '"data.value" $gt 1e5 does not hold'],
    ['{"data.stage":{"$in":["a",1]}}', '"data.stage" $in ["a",1] does not hold'],
    ['{"$and":[{"data.vip":true},{"data.stage":"lost"}]}', '$and[1] "data.stage" $eq "lost" does not hold'],
    ['{"$or":[{"data.vip":false},{"data.stage":"lost"}]}', '$or: none of its conditions holds'],
    ['{"$not":{"data.vip":true}}', '$not does not hold'],
    ['{"data.value":{"$or":[1,2]}}', '"data.value" $or: none of its conditions holds'],
    [`{"data.stage":"${'x'.repeat(99)}"}`, `"data.stage" $eq "${'x'.repeat(59)}... does not hold`],
  ])('%s: %s', (filter, because) => {
    expect(match(filter)).toEqual({ matched: false, because });
  });
});

describe('a thin event has the key columns only', () => {
  const thin = '{"id" : 7, "region" : "eu", "doc" : {"a" : 1}}';
  test.each([
    // answered: what the key columns say, also what is not in them
    ['{"data.id":7}', true],
    ['{"data.id":8}', false],
    ['{"data.id":{"$gt":6,"$lt":8},"data.region":{"$startsWith":"e"}}', true],
    ['{"data.id":{"$exists":true}}', true],
    ['{"data.id":{"$exists":false}}', false],
    ['{"data.doc.a":1}', true],
    ['{"data.doc.b":{"$exists":true}}', false],
    ['{}', true],
    // unknown: the other columns, also whether they exist, and what an update changed
    ['{"data.stage":"won"}', '"data.stage" $eq "won"'],
    ['{"data.stage":{"$ne":"won"}}', '"data.stage" $ne "won"'],
    ['{"data.stage":{"$nin":["won"]}}', '"data.stage" $nin ["won"]'],
    ['{"data.stage":{"$exists":true}}', '"data.stage" $exists true'],
    ['{"data.stage":{"$exists":false}}', '"data.stage" $exists false'],
    ['{"data.tags":{"$contains":"vip"}}', '"data.tags" $contains "vip"'],
    ['{"data.stage.0":1}', '"data.stage.0" $eq 1'],
    ['{"previous.stage":{"$exists":true}}', '"previous.stage" $exists true'],
    ['{"previous.id":{"$exists":false}}', '"previous.id" $exists false'],
    // whatever an unknown condition would say, the result is the same
    ['{"data.stage":"won","data.id":8}', false],
    ['{"data.id":8,"data.stage":"won"}', false],
    ['{"$and":[{"data.stage":"won"},{"data.id":8}]}', false],
    ['{"$or":[{"data.stage":"won"},{"data.id":7}]}', true],
    ['{"$not":{"data.stage":"won","data.id":8}}', true],
    ['{"$not":{"$or":[{"data.stage":"won"},{"data.id":7}]}}', false],
    ['{"data.id":{"$or":[7,{"$gt":100}]}}', true],
    // it depends on one: the first is named
    ['{"data.id":7,"data.stage":"won","data.value":1}', '"data.stage" $eq "won"'],
    ['{"$or":[{"data.id":8},{"data.value":1},{"data.stage":"won"}]}', '$or[1] "data.value" $eq 1'],
    ['{"$not":{"data.stage":"won"}}', '$not "data.stage" $eq "won"'],
    ['{"$not":{"$not":{"data.stage":"won","data.id":7}}}', '$not $not "data.stage" $eq "won"'],
    ['{"data.stage":{"$not":{"$in":["won"]}}}', '"data.stage" $not $in ["won"]'],
    ['{"$and":[{"$or":[{"data.stage":"won"},{"data.id":8}]},{"data.id":7}]}', '$and[0] $or[0] "data.stage" $eq "won"'],
  ])('%s: %s', (filter, expected) => {
    const { matched, ...said } = compileFilter(parseFilter(filter)).matches(new Row(thin, undefined, true));
    if (typeof expected === 'string') expect([matched, said]).toEqual(['unknown', { because: expected }]);
    else expect(matched).toBe(expected);
  });

  test('or none at all, without a primary key', () => {
    const filter = compileFilter(parseFilter('{"$or":[{"data.a":1},{"data.b":2}]}'));
    for (const data of ['{}', 'null']) expect(filter.matches(new Row(data, undefined, true)).matched).toBe('unknown');
  });

  test('any answer that is given is the one of every whole row with that key', () => {
    const next = seeded(3);
    const path = () => ['data.id', 'data.region', 'data.stage', 'previous.stage'][next(4)];
    const operand = () => ['1', '"eu"', '{"$ne":1}', '{"$exists":true}', '{"$in":[1,"eu"]}', '{"$not":"eu"}'][next(6)];
    const filter = (depth: number): string => {
      const inner = () => filter(depth + 1);
      const kind = depth > 3 ? 0 : next(4);
      if (kind === 0) return `{"${path()}":${operand()}}`;
      if (kind === 1) return `{"$and":[${inner()},${inner()}]}`;
      return kind === 2 ? `{"$or":[${inner()},${inner()}]}` : `{"$not":${inner()}}`;
    };
    const seen = new Map<string, number>();
    for (let round = 0; round < 2_000; round++) {
      const text = filter(0);
      const compiled = compileFilter(parseFilter(text));
      const key = `"id":${next(2)},"region":${['"eu"', 'null'][next(2)]}`;
      const { matched } = compiled.matches(new Row(`{${key}}`, undefined, true));
      seen.set(String(matched), (seen.get(String(matched)) ?? 0) + 1);
      if (matched === 'unknown') continue;
      for (const rest of ['', ',"stage":1', ',"stage":"eu"', ',"stage":null'])
        for (const before of [undefined, '{"stage":1}', '{"stage":"eu"}'])
          expect([text, key, rest, before, compiled.matches(new Row(`{${key}${rest}}`, before)).matched]).toEqual([
            text,
            key,
            rest,
            before,
            matched,
          ]);
    }
    for (const answer of ['true', 'false', 'unknown']) expect(seen.get(answer)).toBeGreaterThan(100);
  });
});

describe('numbers compare exactly', () => {
  const value = (number: string) => `{"value":${number}}`;
  test.each([
    ['9007199254740993', '$gt', '9007199254740992', true],
    ['9007199254740992', '$eq', '9007199254740993', false],
    ['9223372036854775807', '$lt', '9223372036854775808', true],
    ['0.1', '$eq', '0.1000000000000000055511151231257827', false],
    ['0.30000000000000000001', '$gt', '0.3', true],
    ['123456789012345678901234567890.12', '$lt', '123456789012345678901234567890.13', true],
    ['1.0', '$eq', '1', true],
    ['1', '$eq', '10e-1', true],
    ['1E+2', '$eq', '100.00', true],
    ['-0', '$eq', '0', true],
    ['-0.0e5', '$gte', '0', true],
    ['-2', '$lt', '-1', true],
    ['-10', '$lt', '-9', true],
    ['-1', '$lt', '0', true],
    ['0', '$lt', '0.1', true],
    ['9', '$lt', '10', true],
    ['0.09', '$lt', '0.1', true],
    ['1e400', '$gt', '1e399', true],
    ['1e400', '$eq', '10e399', true],
    ['1e-400', '$gt', '0', true],
    ['1e999999999', '$gt', '1e999', true],
    ['-1e999999999', '$lt', '-1e999', true],
    ['1e-999999999', '$lt', '1e-900', true],
    ['1e99999999999999999999999', '$gt', '1', true],
    ['0e999999999', '$eq', '0', true],
  ])('%s %s %s: %s', (left, operator, right, expected) => {
    expect(holds(`{"data.value":{"${operator}":${right}}}`, value(left))).toBe(expected);
  });

  test('in filters that were parsed by JSON.parse, as far as it kept them', () => {
    expect(
      compileFilter({ 'data.value': { $gt: 1e21, $lt: 2e21 } }).matches(new Row(value('15e20'), undefined)).matched,
    ).toBe(true);
    expect(filterProblem({ 'data.value': Number.POSITIVE_INFINITY })).toMatch(/\$eq takes/);
  });

  test('whatever pair of them, as BigInt does', () => {
    const next = seeded(7);
    const digits = () => String(BigInt(next(1_000_000)) ** BigInt(1 + next(6)));
    for (let round = 0; round < 2_000; round++) {
      const [left, right] = [digits(), next(4) === 0 ? digits() : digits().slice(0, 1 + next(9))];
      const [leftShift, rightShift] = [next(40) - 20, next(40) - 20];
      const exact = (text: string, shift: number) => BigInt(text) * 10n ** BigInt(shift + 20);
      const expected = exact(left, leftShift) < exact(right, rightShift);
      expect([
        left,
        leftShift,
        right,
        rightShift,
        holds(`{"data.value":{"$lt":${right}e${rightShift}}}`, value(`${left}e${leftShift}`)),
      ]).toEqual([left, leftShift, right, rightShift, expected]);
    }
  });
});

test('strings compare by code point, not by UTF-16 unit', () => {
  expect(holds('{"data.s":{"$gt":"\uffee"}}', '{"s":"😀"}')).toBe(true);
  expect(holds('{"data.s":{"$lt":"😀"}}', '{"s":"\ue000z"}')).toBe(true);
  expect(holds('{"data.s":{"$lt":"😁"}}', '{"s":"😀"}')).toBe(true);
  expect(holds('{"data.s":{"$lt":"ab"}}', '{"s":"a"}')).toBe(true);
});

test('reading by path finds what JSON.parse finds, in any document', () => {
  const next = seeded(11);
  const names = ['a', 'b', 'a.b', '', 'ü"\\', '0', '1', '\u2028', '__proto__'];
  const pick = <T>(from: readonly T[]) => from[next(from.length)] as T;
  const space = () => pick(['', '', ' ', '\n\t']);
  const text = (depth: number): string => {
    const kind = next(depth > 4 ? 5 : 8);
    const list = () => Array.from({ length: next(4) }, () => `${space()}${text(depth + 1)}${space()}`);
    if (kind < 5)
      return pick(['null', 'true', '-1.5e3', '"x\\\\"', '"\\"]},{[:"', '""', '7', JSON.stringify(pick(names))]);
    if (kind === 5) return `[${list().join()}${space()}]`;
    return `{${list()
      .map((value) => `${space()}${JSON.stringify(pick(names))}${space()}:${value}`)
      .join()}${space()}}`;
  };
  for (let round = 0; round < 3_000; round++) {
    const data = text(0);
    const path = Array.from({ length: 1 + next(4) }, () => pick(names.filter((name) => name !== '' && name !== 'a.b')));
    let found: unknown = JSON.parse(data);
    for (const name of path) {
      const isThere = typeof found === 'object' && found !== null && Object.hasOwn(found, name);
      found = isThere ? (found as Record<string, unknown>)[name] : undefined;
    }
    const key = JSON.stringify(['data', ...path].join('.'));
    const expected = typeof found === 'object' && found !== null ? { $exists: true, $not: '' } : (found ?? null);
    const condition = found === undefined ? '{"$exists":false}' : JSON.stringify(expected);
    expect([data, key, holds(`{${key}:${condition}}`, data)]).toEqual([data, key, true]);
  }
});

describe('time is bounded', () => {
  const withinMs = (limit: number, act: () => void) => {
    const start = performance.now();
    act();
    expect(performance.now() - start).toBeLessThan(limit);
  };
  const megabyte = 1 << 20;

  test('for a deep row', () => {
    const deep = `{"deep":${'['.repeat(megabyte / 2)}${']'.repeat(megabyte / 2)},"a":1}`;
    withinMs(1_000, () => expect(holds('{"data.a":1,"data.deep.0.0.0":{"$exists":true}}', deep)).toBe(true));
  });

  test('for a search that takes V8 three seconds', () => {
    const data = `{"s":"${'a'.repeat(megabyte)}"}`;
    const filter = `{"data.s":{"$contains":"${'a'.repeat(8_000)}b${'a'.repeat(8_000)}"}}`;
    withinMs(1_000, () => expect(holds(filter, data)).toBe(false));
    expect(holds('{"data.s":{"$contains":"ab"}}', `{"s":"${'a'.repeat(megabyte)}b"}`)).toBe(true);
    const tail = `${'ab'.repeat(4_000)}c`;
    expect(holds(`{"data.s":{"$contains":"${tail}"}}`, `{"s":"${'ab'.repeat(500_001)}${tail}x"}`)).toBe(true);
  });

  test('and a long search finds what a short one finds', () => {
    const next = seeded(5);
    const word = () => Array.from({ length: 1 + next(4) }, () => (next(2) === 0 ? 'a' : 'b')).join('');
    for (let round = 0; round < 300; round++) {
      const piece = () => word().repeat(50 + next(50));
      const text = piece() + piece() + word() + piece() + piece() + 'b'.repeat(1_500);
      const start = next(200);
      const part = text.slice(start, start + 600) + (next(2) === 0 ? '' : word());
      const expected = text.includes(part);
      expect([part, holds(`{"data.s":{"$contains":"${part}"}}`, `{"s":"${text}"}`)]).toEqual([part, expected]);
    }
  });

  test('for numbers of 400,000 digits', () => {
    const zeros = `{"n":1${'0'.repeat(400_000)}1}`;
    withinMs(1_000, () => expect(holds('{"data.n":{"$gt":5}}', zeros)).toBe(true));
  });

  test('for a hundred conditions on a long list', () => {
    const data = `{"list":[${Array(8_000).fill('1.0').join()}]}`;
    const filter = `{"$not":{"$or":[${Array.from({ length: 100 }, (_, i) => `{"data.list":{"$contains":${i + 2}}}`).join()}]}}`;
    withinMs(2_000, () => expect(holds(filter, data)).toBe(true));
  });
});

describe('the same filters are good and bad here and in PostgreSQL', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase();
  });
  afterAll(() => database?.drop());

  const inSql = async (filter: string) => {
    const [answer] = await database.query<{ problem: string | null }>(
      'select rowhook._filter_problem($1::text::jsonb) as problem',
      [filter],
    );
    return answer?.problem ?? undefined;
  };
  const shown = (filter: string) => (filter.length > 80 ? `${filter.slice(0, 80)}...` : filter);

  test.each(goodFilters.map((filter) => [shown(filter), filter]))('good: %s', async (_, filter) => {
    expect(filterProblem(parseFilter(filter))).toBeUndefined();
    expect(await inSql(filter)).toBeUndefined();
  });

  test.each(badFilters.map(([filter, sentence]) => [shown(filter), filter, sentence]))(
    'bad: %s',
    async (_, filter, sentence) => {
      expect(filterProblem(parseFilter(filter))).toBe(sentence);
      expect(await inSql(filter)).toBe(sentence);
    },
  );

  test('no filter is no problem', async () => {
    const rows = await database.query('select rowhook._filter_problem(null) as problem');
    expect(rows).toEqual([{ problem: null }]);
  });

  test('a bad one is refused on insert, with the path and the reason', async () => {
    const insert = database.query(
      `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, filter)
       values ('t1', 'n', 'https://example.com/', '{*}', '{"data.value":{"$gt":null}}')`,
    );
    await expect(insert).rejects.toThrow('webhook_configurations.filter: "data.value" $gt takes a string or a number.');
  });
});

test('a filter that is no JSON is a problem, not a crash', () => {
  expect(() => parseFilter('{"data.a":')).toThrow(/^filter: is not valid JSON: /);
  expect(() => parseFilter('['.repeat(100_000))).toThrow(/^filter: is not valid JSON: /);
  expect(() => parseFilter(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)).toThrow(/^filter: is not valid JSON: /);
});

/** Whole numbers below `limit`, the same in every run. */
function seeded(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}
