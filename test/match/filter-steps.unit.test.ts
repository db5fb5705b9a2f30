// The work of a filter is bounded: by steps, which are the same on every machine.

import { describe, expect, test } from 'vitest';
import { compileFilter, parseFilter } from '../../src/match/filter/filter.ts';
import { Row } from '../../src/match/filter/row.ts';
import { filterVerdict, stoppedBy } from '../../src/match/match.ts';
import type { Change, Webhook } from '../../src/model.ts';

const MEGABYTE = 1 << 20;
const times = (count: number, text: string) => text.repeat(count);
/** `count` conditions, each with its number. */
const conditions = (count: number, one: (n: number) => string) =>
  Array.from({ length: count }, (_, n) => one(n)).join();
const either = (count: number, one: (n: number) => string) => `{"$or":[${conditions(count, one)}]}`;

const matches = (filter: string, row: Row) => compileFilter(parseFilter(filter)).matches(row);
const answer = (filter: string, data: string) => matches(filter, new Row(data, undefined)).matched;

const text = `{"a":"${times(MEGABYTE, 'a')}","b":1}`;
const digits = `{"a":[${times(MEGABYTE / 2 - 1, '1,')}1],"b":1}`;
const wide = `{"a":{${conditions(100_000, (n) => `"k${n}":1`)}},"b":1}`;
const escaped = `{"a":"${times(MEGABYTE / 6, '\\u0061')}","b":1}`;
const json = `{"a":"${times(MEGABYTE / 2, '\\"')}","b":1}`;
const number = `{"a":${times(MEGABYTE, '7')},"b":1}`;
const deep = `{"a":${times(MEGABYTE / 2, '[')}${times(MEGABYTE / 2, ']')},"b":1}`;
const levels = `{"a":${times(200_000, '{"a":')}1${times(200_000, '}')},"b":1}`;

describe('a row of a megabyte', () => {
  test.each([
    ['a long text', text],
    ['an array of digits', digits],
    ['an object of 100,000 names', wide],
    ['a text with escapes', escaped],
    ['a text of quotes', json],
    ['a number of a million digits', number],
    ['a deep array', deep],
    ['a deep object', levels],
  ])('has a result for the columns beside %s', (_, data) => {
    expect(answer('{"data.b":1}', data)).toBe(true);
    expect(answer('{"data.a":{"$exists":false},"data.b":1}', data)).not.toBe(true);
  });

  test.each([
    ['one search in a text', '{"data.a":{"$contains":"b"}}', text],
    ['the beginning and the end of a text', '{"data.a":{"$startsWith":"aa","$endsWith":"aa"},"data.b":1}', text],
    ['a hundred comparisons of a text', either(50, (n) => `{"data.a":{"$in":["${n}","a"],"$gt":"b${n}"}}`), text],
    ['the first element of a long array', '{"data.a.0":1,"data.b":1}', digits],
    ['an array of 10,000 numbers', '{"data.a":{"$contains":1}}', `{"a":[${times(9_999, '0,')}1]}`],
    ['a number of 100,000 digits', '{"data.a":{"$gt":1}}', `{"a":${times(100_000, '7')}}`],
    ['the outer levels of a deep array', `{"data.a${times(3, '.0')}":{"$exists":true}}`, deep],
  ])('has a result for %s', (_, filter, data) => {
    expect(answer(filter, data)).not.toBe('too_costly');
  });

  test.each([
    ['a hundred searches in a text', either(100, (n) => `{"data.a":{"$contains":"b${n}"}}`), text],
    ['an element of a long array', '{"data.a":{"$contains":"x"}}', digits],
    ['the last element of a long array', `{"data.a.${MEGABYTE / 2 - 1}":1}`, digits],
    ['a name of 100,000', '{"data.a.k7":1}', wide],
    ['the value of a number of a million digits', '{"data.a":{"$gt":1}}', number],
    ['sixteen levels of a deep object', `{"data${times(15, '.a')}":1}`, levels],
  ])('has none for %s', (_, filter, data) => {
    expect(answer(filter, data)).toBe('too_costly');
  });
});

describe('a filter without steps', () => {
  test('still has a result if its other conditions decide, in any order', () => {
    const costly = '"data.a":{"$contains":"x"}';
    expect(answer(`{${costly},"data.b":2}`, digits)).toBe(false);
    expect(answer(`{${costly},"data.b":1}`, digits)).toBe('too_costly');
    expect(answer(`{"$or":[{${costly}},{"data.b":1}]}`, digits)).toBe(true);
    expect(answer(`{"$or":[{${costly}},{"data.b":2}]}`, digits)).toBe('too_costly');
    expect(answer(`{"$not":{${costly},"data.b":2}}`, digits)).toBe(true);
    expect(answer(`{"$not":{${costly}}}`, digits)).toBe('too_costly');
  });

  test('is logged with the condition, the bound and the remedy, and explained in the same words', () => {
    const webhook = {
      id: 'w',
      tenantId: 't',
      isActive: true,
      disabledReason: null,
      unusable: null,
      settings: { filter: '{"data.a":{"$contains":"x"}}', eventTypes: ['*'] },
    } as unknown as Webhook;
    const change = { tenantId: 't', data: digits, previous: null, truncated: null, testWebhookId: null } as Change;
    const error =
      'the filter needs more than the 4,000,000 steps that it may take for one row. ' +
      'It had none left for "data.a" $contains "x". Filter by smaller columns, or by fewer $contains';
    expect(filterVerdict(webhook, change)).toEqual({ code: 'filter_failed', error });
    expect(stoppedBy(webhook, change, 'a.b')).toBe(error);
  });
});

describe('a row that many filters share', () => {
  const rows = [text, digits, wide, escaped, number, levels, `{"a":[${times(30_000, '1,')}1],"b":{"a":{"b":[1]}}}`];
  const paths = ['data.a', 'data.b', 'data.a.0', 'data.a.a.a', 'data.a.30000', 'data.a.k1', 'data.b.a.b', 'previous.a'];
  const operands = ['1', '{"$contains":"b"}', '{"$contains":1}', '{"$gt":"a"}', '{"$exists":true}', '{"$in":[1,"a"]}'];

  test('gives each of them the result that it has alone', () => {
    let state = 1;
    const next = (limit: number) => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * limit);
    };
    const seen = new Set<unknown>();
    for (const data of rows) {
      const shared = new Row(data, '{"a":1}');
      for (let round = 0; round < 12; round++) {
        const one = () => `{"${paths[next(paths.length)]}":${operands[next(operands.length)]}}`;
        const filter = next(2) === 0 ? one() : `{"$or":[${one()},${one()},${one()}]}`;
        const alone = matches(filter, new Row(data, '{"a":1}'));
        expect([filter, matches(filter, shared)]).toEqual([filter, alone]);
        seen.add(alone.matched);
      }
    }
    expect([...seen].toSorted()).toEqual([false, 'too_costly', true].toSorted());
  });

  test('is read once', () => {
    const filters = Array.from({ length: 40 }, (_, n) => compileFilter(parseFilter(`{"data.b":{"$ne":${n + 7}}}`)));
    const elapsed = (rowOf: () => Row) => {
      const startedAt = performance.now();
      for (const filter of filters) expect(filter.matches(rowOf()).matched).toBe(true);
      return performance.now() - startedAt;
    };
    const shared = new Row(deep, undefined);
    const [together, alone] = [elapsed(() => shared), elapsed(() => new Row(deep, undefined))];
    expect(alone / together).toBeGreaterThan(5);
  });
});
