import { expect, test } from 'vitest';
import { onBehalfOf, quickestFirst, type Resolve } from '../../src/deliver/dns.ts';
import { createSender } from '../../src/deliver/sender.ts';

/** A resolver that answers when it is told to. */
function openResolver() {
  const asked: string[] = [];
  const answers = new Map<string, () => void>();
  const resolve: Resolve = (hostname, _options, callback) => {
    asked.push(hostname);
    answers.set(hostname, () => callback(null, [{ address: '192.0.2.1', family: 4 }]));
  };
  const lookup = quickestFirst(resolve);
  const answered: string[] = [];
  return {
    lookup,
    asked,
    answered,
    ask: (hostname: string) => lookup(hostname, { all: true }, () => answered.push(hostname)),
    answer: (hostname: string) => answers.get(hostname)?.(),
  };
}

const silent = Array.from({ length: 300 }, (_, n) => `silent${n}.test`);

test('names that nothing is known of leave threads to one that has proved quick', () => {
  const { asked, answered, ask, answer } = openResolver();
  ask('quick.test');
  answer('quick.test');
  for (const name of silent) ask(name);
  const taken = asked.length;
  expect(taken).toBeLessThan(silent.length);
  ask('quick.test');
  expect(asked.at(-1)).toBe('quick.test');
  answer('quick.test');
  expect(answered).toEqual(['quick.test', 'quick.test']);
  // and a new one waits until one of the others has ended
  ask('new.test');
  expect(asked.at(-1)).toBe('quick.test');
  for (let n = 0; n < asked.length; n++) answer(asked[n] as string);
  expect(asked).toContain('new.test');
});

test('all lookups come to their end', () => {
  const { asked, answered, ask, answer } = openResolver();
  for (const name of silent) ask(name);
  for (let n = 0; n < asked.length; n++) answer(asked[n] as string);
  expect(new Set(answered)).toEqual(new Set(silent));
  expect(answered).toHaveLength(silent.length);
});

test('names without an answer of one tenant leave threads to new names of another one', () => {
  const { asked, ask } = openResolver();
  onBehalfOf('hostile', () => {
    for (const name of silent) ask(name);
  });
  const taken = asked.length;
  onBehalfOf('other', () => ask('new.test'));
  expect(asked).toHaveLength(taken + 1);
  expect(asked.at(-1)).toBe('new.test');
});

test('ten tenants with names without an answer leave a thread to one more', () => {
  const { asked, ask } = openResolver();
  for (let n = 0; n < 30; n++)
    for (let tenant = 0; tenant < 10; tenant++) onBehalfOf(`hostile ${tenant}`, () => ask(`silent${tenant}-${n}.test`));
  onBehalfOf('other', () => ask('new.test'));
  expect(asked.at(-1)).toBe('new.test');
});

test('a request is looked up on behalf of its tenant', async () => {
  const { asked, lookup } = openResolver();
  const sender = createSender({ allowHttp: true, allowCidrs: [], denyCidrs: [] }, { resolve: lookup });
  const send = (tenantId: string, name: string) =>
    void sender.send({
      ...{ tenantId, url: `http://${name}/`, method: 'POST', headers: {}, body: Buffer.from('{}') },
      ...{ timeoutMs: 60_000, allowedIps: null },
    });
  for (const name of silent) send('hostile', name);
  const taken = asked.length;
  expect(taken).toBeLessThan(silent.length);
  send('other', 'new.test');
  expect(asked.slice(taken)).toEqual(['new.test']);
  await sender.close();
});
