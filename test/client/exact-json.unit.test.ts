import { expect, test } from 'vitest';
import { parseExactly, textOf, textsOf } from '../../src/client/exact-json.ts';
import { JsonText, toJson } from '../../src/shared/json/json-text.ts';

interface Answer {
  data: { data: { id: number; list: unknown[] }; '10': number }[];
}

test('each part of an answer has its text', () => {
  const data = '{ "id": 12345678901234567890, "list": [1.0, {"n": 1e400}], "10": "a\\"]}", "9": -0 }';
  const answer = parseExactly(`{"data":[{"x":1,"data":${data} , "previous":null}]}`) as Answer;
  const [event] = answer.data as [Answer['data'][number]];
  expect(event.data.id).toBe(12345678901234567000);
  expect(textOf(event, 'data')).toBe(data);
  expect(textOf(event.data)).toBe(data);
  expect(textOf(event.data, 'id')).toBe('12345678901234567890');
  expect(textOf(event.data.list[1] as object, 'n')).toBe('1e400');
  expect(textOf(event.data.list, 0)).toBe('1.0');
  expect(textOf(event, 'previous')).toBe('null');
  expect(textOf(event, 'nothing')).toBeUndefined();
});

test('all elements of an array have their texts in one pass', () => {
  const answer = parseExactly('{"data": [ {"id": 1.0}, [2.50, 3] ,"a\\u0041", null ], "more": []}') as {
    data: unknown[];
    more: unknown[];
  };
  expect(textsOf(answer.data)).toEqual(['{"id": 1.0}', '[2.50, 3]', '"a\\u0041"', 'null']);
  expect(textsOf(answer.more)).toEqual([]);
});

test('of two members with one name the last counts', () => {
  const value = parseExactly('{"a":{"b":1},"a":{"b":2.0}}') as { a: object };
  expect(textOf(value.a, 'b')).toBe('2.0');
});

test('a value from elsewhere has no text', () => {
  expect(() => textOf({ data: 1 })).toThrow('is not part of an answer');
});

test('texts and bigints are written with every digit', () => {
  const text = '{"b":1.50,"a":12345678901234567890}';
  expect(toJson({ data: new JsonText(text), n: [12345678901234567890n], s: 'x' })).toBe(
    `{"data":${text},"n":[12345678901234567890],"s":"x"}`,
  );
});
