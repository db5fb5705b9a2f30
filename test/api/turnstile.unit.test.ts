// The connections of the API are shared by organizations.

import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Place, Turnstile } from '../../src/api/turnstile.ts';

const WAIT_MS = 20_000;

/** Requests of each turn that want to pass, and the places of those that did. */
function asked(turnstile: Turnstile) {
  const passed: { turn: string; place: Place }[] = [];
  const ask = (name: string, count = 1) => {
    for (let n = 0; n < count; n++) void turnstile.pass(name).then((place) => passed.push({ turn: name, place }));
    return turn();
  };
  const turns = () => passed.map((each) => each.turn);
  const leave = (count: number) => {
    for (const { place } of passed.splice(0, count)) place.leave();
    return turn();
  };
  return { ask, turns, leave };
}

test('an organization whose requests take long has half of the places, and another one passes at once', async () => {
  const turnstile = new Turnstile(10, WAIT_MS);
  const { ask, turns } = asked(turnstile);
  await ask('=slow', 2_000);
  expect(turns()).toEqual(Array(5).fill('=slow'));
  await ask('=other');
  expect(turns().at(-1)).toBe('=other');
  expect(turnstile.waiting).toBe(1_995);
});

test('two organizations leave a place to a third one', async () => {
  const { ask, turns } = asked(new Turnstile(10, WAIT_MS));
  await ask('=one', 100);
  await ask('=two', 100);
  expect(turns()).toHaveLength(9);
  await ask('=three');
  expect(turns().at(-1)).toBe('=three');
});

test('organizations that wait are served in rotation, whoever has the longest line', async () => {
  const { ask, turns, leave } = asked(new Turnstile(2, WAIT_MS));
  await ask('=many', 100);
  await ask('=few');
  expect(turns()).toEqual(['=many', '=few']);
  await ask('=few', 2);
  await ask('=third', 2);
  await leave(2);
  expect(turns().toSorted()).toEqual(['=few', '=many']);
  await leave(2);
  expect(turns()).toContain('=third');
});

test('one place is enough for everybody, one after the other', async () => {
  const { ask, turns, leave } = asked(new Turnstile(1, WAIT_MS));
  await ask('=one', 3);
  await ask('=two', 1);
  const seen: string[] = [];
  for (let n = 0; n < 4; n++) {
    seen.push(...turns());
    await leave(1);
  }
  expect(seen).toEqual(['=one', '=one', '=two', '=one']);
});

test('a verified request counts for its organization, and no longer for its network', async () => {
  const turnstile = new Turnstile(4, WAIT_MS);
  const places = [await turnstile.pass('@net'), await turnstile.pass('@net')];
  let third = false;
  void turnstile.pass('@net').then(() => {
    third = true;
  });
  await turn();
  expect(third).toBe(false);
  expect(places[0]?.move('=acme')).toBe(true);
  await turn();
  expect(third).toBe(true);
  // leaving twice gives one place back
  places[0]?.leave();
  places[0]?.leave();
  places[1]?.leave();
  const { ask, turns } = asked(turnstile);
  await ask('=b', 10);
  expect(turns()).toHaveLength(2);
});

test('requests whose organization is found out late get no more than its share', async () => {
  const turnstile = new Turnstile(4, WAIT_MS);
  const own = [await turnstile.pass('=acme'), await turnstile.pass('=acme')];
  const late = await turnstile.pass('@net');
  expect(late.move('=acme')).toBe(false);
  own[0]?.leave();
  expect(late.move('=acme')).toBe(true);
  // those that wait come first
  const { ask } = asked(turnstile);
  await ask('=acme');
  own[1]?.leave();
  const later = await turnstile.pass('@net');
  await ask('=acme', 2);
  expect(later.move('=acme')).toBe(false);
});

test('a request that waits too long is 503, and takes nothing with it', async () => {
  const turnstile = new Turnstile(1, 50);
  const place = await turnstile.pass('=one');
  await expect(turnstile.pass('=two')).rejects.toMatchObject({ code: 'unavailable', status: 503 });
  expect(turnstile.waiting).toBe(0);
  place.leave();
  await turnstile.pass('=two');
});
