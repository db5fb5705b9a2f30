// Partitions and inheritance: whichever table a statement names, each changed row is one event.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { catalogOf } from '../support/catalog.ts';
import type { TestDatabase } from '../support/database.ts';
import { type Delivered, startDelivered } from '../support/delivered.ts';

let database: TestDatabase;
let delivers: Delivered['delivers'];
let watched: Delivered['watched'];
let close: Delivered['close'];

beforeAll(async () => {
  ({ database, delivers, watched, close } = await startDelivered());
});

afterAll(() => close());

const reconcile = async () =>
  (
    await database.query<{ line: string }>(
      "select relation || ': ' || change as line from rowhook.reconcile() order by 1",
    )
  ).map(({ line }) => line);

describe.each([
  ['a primary key', 'primary key (id, region)', true],
  ['no primary key', 'unique (id, region)', false],
])('a partitioned table with %s', (_, key, hasKey) => {
  const created = (id: number, region: string, v = 'a') =>
    `orders.created {"id":${id},"tenant_id":"acme","region":"${region}","v":"${v}"}`;
  const updated = (id: number, region: string, v: string, was: string) =>
    `orders.updated {"id":${id},"tenant_id":"acme","region":"${region}","v":"${v}"} was ${was}`;
  const deleted = (id: number, region: string, v: string) =>
    `orders.deleted {"id":${id},"tenant_id":"acme","region":"${region}","v":"${v}"}`;

  test('is covered through the root, a branch and a leaf, without doubles', async () => {
    await database.query(`
      create table orders (id int, tenant_id text, region text, v text, ${key}) partition by list (region);
      create table orders_eu partition of orders for values in ('de', 'fr') partition by list (region);
      create table orders_de partition of orders_eu for values in ('de');
      create table orders_fr (v text, gone int, region text, tenant_id text, id int);
      alter table orders_fr drop column gone, alter column id set not null, alter column region set not null;
      alter table orders_eu attach partition orders_fr for values in ('fr');
      create table orders_rest partition of orders default`);

    await watched('orders', '', async () => {
      await delivers(
        "insert into orders select n, 'acme', r, 'a' from unnest('{de,fr,us}'::text[]) with ordinality as u (r, n)",
        [created(1, 'de'), created(2, 'fr'), created(3, 'us')],
      );
      await delivers("update orders set v = 'b'", [
        updated(1, 'de', 'b', '{"v":"a"}'),
        updated(2, 'fr', 'b', '{"v":"a"}'),
        updated(3, 'us', 'b', '{"v":"a"}'),
      ]);
      await delivers("update orders_eu set v = 'c'", [
        updated(1, 'de', 'c', '{"v":"b"}'),
        updated(2, 'fr', 'c', '{"v":"b"}'),
      ]);
      await delivers("update orders_rest set v = 'd'", [updated(3, 'us', 'd', '{"v":"b"}')]);
      // a leaf prints its row in the order of its own columns
      await delivers("insert into orders_fr (id, tenant_id, region, v) values (4, 'acme', 'fr', 'a')", [
        'orders.created {"v":"a","region":"fr","tenant_id":"acme","id":4}',
      ]);
      await delivers('delete from orders_eu where id = 4', [deleted(4, 'fr', 'a')]);
      await delivers(
        `merge into orders as t using (values (1, 'de'), (2, 'fr'), (5, 'us')) as s (id, region) on t.id = s.id and t.region = s.region
         when matched and t.id = 1 then delete when matched then update set v = 'm'
         when not matched then insert values (s.id, 'acme', s.region, 'm')`,
        [deleted(1, 'de', 'c'), updated(2, 'fr', 'm', '{"v":"c"}'), created(5, 'us', 'm')],
      );
      // from one partition to another, within a branch and beyond it
      const moves = (id: number, from: string, to: string, v: string) =>
        hasKey ? [deleted(id, from, v), created(id, to, v)] : [updated(id, to, v, `{"region":"${from}"}`)];
      await delivers("update orders set region = 'de' where id = 2", moves(2, 'fr', 'de', 'm'));
      await delivers("update orders_eu set region = 'fr' where id = 2", moves(2, 'de', 'fr', 'm'));
      await delivers("update orders set region = 'jp' where id = 2", moves(2, 'fr', 'jp', 'm'));
      await delivers('delete from orders', [deleted(2, 'jp', 'm'), deleted(3, 'us', 'd'), deleted(5, 'us', 'm')]);
      await delivers('truncate orders', []);
    });
    await database.query('drop table orders');
  });

  // PostgreSQL gives the two images to the triggers of DELETE and INSERT, and fires those of the actions that the MERGE has
  test('a row that MERGE moves to another partition is told as far as the MERGE has a DELETE and an INSERT', async () => {
    await database.query(`
      create table orders (id int, tenant_id text, region text, v text, ${key}) partition by list (region);
      create table orders_de partition of orders for values in ('de');
      create table orders_fr partition of orders for values in ('fr');
      insert into orders select n, 'acme', 'de', 'a' from generate_series(1, 5) as n`);
    const moveTo = (id: number, action: string) =>
      `merge into orders as t using (values (${id})) as s (id) on t.id = s.id ${action}
       when matched then update set region = 'fr'`;
    const anInsert = "when not matched then insert values (9, 'acme', 'de', 'a')";
    const aDelete = 'when matched and false then delete';
    await watched('orders', '', async () => {
      await delivers(moveTo(1, ''), []);
      await delivers(moveTo(2, anInsert), [created(2, 'fr')]);
      await delivers(moveTo(3, aDelete), [deleted(3, 'de', 'a')]);
      await delivers(moveTo(4, `${anInsert} ${aDelete}`), [deleted(4, 'de', 'a'), created(4, 'fr')]);
    });
    await database.query('drop table orders');
  });

  test('a partition that comes later is covered through the root at once, and by itself after reconcile()', async () => {
    await database.query(`
      create table orders (id int, tenant_id text, region text, v text, ${key}) partition by list (region);
      create table orders_de partition of orders for values in ('de')`);
    await database.query("select rowhook.watch('orders')");
    const pristine = await catalogOf(database);

    await database.query("create table orders_us partition of orders for values in ('us')");
    await delivers("insert into orders values (1, 'acme', 'us', 'a')", [created(1, 'us')]);
    expect(await reconcile()).toEqual(['public.orders_us: triggers attached']);
    expect(await reconcile()).toEqual([]);
    await delivers("insert into orders_us values (2, 'acme', 'us', 'a')", [created(2, 'us')]);
    await delivers("update orders set v = 'b'", [
      updated(1, 'us', 'b', '{"v":"a"}'),
      updated(2, 'us', 'b', '{"v":"a"}'),
    ]);

    // detached, it is a table like any other
    await database.query('alter table orders detach partition orders_us');
    expect(await reconcile()).toEqual(['public.orders_us: triggers detached']);
    await delivers("insert into orders_us values (3, 'acme', 'us', 'a')", []);
    await delivers("insert into orders values (3, 'acme', 'de', 'a')", [created(3, 'de')]);

    // and attached again
    await database.query("alter table orders attach partition orders_us for values in ('us')");
    expect(await reconcile()).toEqual(['public.orders_us: triggers attached']);
    await delivers("update orders_us set v = 'c' where id = 1", [updated(1, 'us', 'c', '{"v":"b"}')]);

    await database.query('drop table orders_us');
    expect(await catalogOf(database)).toEqual(pristine);
    await database.query("select rowhook.unwatch('orders'); drop table orders");
  });

  test('a watched table that becomes a partition of a watched one is captured once', async () => {
    await database.query(`
      create table orders (id int, tenant_id text, region text, v text, ${key}) partition by list (region);
      create table single (id int, tenant_id text, region text, v text, ${key});
      select rowhook.watch('single');
      select rowhook.watch('orders');
      alter table orders attach partition single for values in ('de')`);
    await reconcile();
    expect(await reconcile()).toEqual([]);
    await delivers("insert into orders values (1, 'acme', 'de', 'a')", [created(1, 'de')]);
    await delivers("insert into single values (2, 'acme', 'de', 'a')", [created(2, 'de')]);
    await database.query("select rowhook.unwatch('orders'); drop table orders");
    expect(await database.query("select from pg_proc where proname ~ '^_capture_[0-9]'")).toEqual([]);
  });
});

test('thirty partitions', async () => {
  await database.query('create table many (id int primary key, tenant_id text) partition by range (id)');
  for (let n = 0; n < 30; n++) {
    await database.query(`create table many_${n} partition of many for values from (${n * 10}) to (${n * 10 + 10})`);
  }
  await watched('many', '', async () => {
    await delivers(
      "insert into many select n * 10, 'acme' from generate_series(0, 29) as n",
      Array.from({ length: 30 }, (_, n) => `many.created {"id":${n * 10},"tenant_id":"acme"}`),
    );
    await delivers("insert into many_7 values (75, 'acme')", ['many.created {"id":75,"tenant_id":"acme"}']);
  });
});

describe('inheritance', () => {
  test.each([
    ['where only the parent has a primary key', 'primary key (id)', 'check (extra <> 9)'],
    ['where both have a primary key', 'primary key (id)', 'primary key (id)'],
    ['where neither has one', 'check (id > 0)', 'check (extra <> 9)'],
  ])('%s: each row once, whichever table is named', async (_, parentKey, childKey) => {
    await database.query(`
      create table animals (id int, tenant_id text, name text, ${parentKey});
      create table cats (extra int, ${childKey}) inherits (animals);
      create table kittens () inherits (cats)`);
    await watched('animals', "prefix => 'animal'", async () => {
      await delivers(
        `insert into animals values (1, 'acme', 'a'), (2, 'acme', 'b');
         insert into cats values (1, 'acme', 'c', 10), (3, 'acme', 'd', 10);
         insert into kittens values (1, 'acme', 'k', 1)`,
        [
          'animal.created {"id":1,"tenant_id":"acme","name":"a"}',
          'animal.created {"id":2,"tenant_id":"acme","name":"b"}',
          'animal.created {"id":1,"tenant_id":"acme","name":"c","extra":10}',
          'animal.created {"id":3,"tenant_id":"acme","name":"d","extra":10}',
          'animal.created {"id":1,"tenant_id":"acme","name":"k","extra":1}',
        ],
      );
      // through the parent, rows show in the parent's form; equal keys of parent and child are not mixed up
      await delivers("update animals set name = upper(name) where name <> 'b'", [
        'animal.updated {"id":1,"tenant_id":"acme","name":"A"} was {"name":"a"}',
        'animal.updated {"id":1,"tenant_id":"acme","name":"C"} was {"name":"c"}',
        'animal.updated {"id":3,"tenant_id":"acme","name":"D"} was {"name":"d"}',
        'animal.updated {"id":1,"tenant_id":"acme","name":"K"} was {"name":"k"}',
      ]);
      await delivers("update only animals set name = 'only'", [
        'animal.updated {"id":1,"tenant_id":"acme","name":"only"} was {"name":"A"}',
        'animal.updated {"id":2,"tenant_id":"acme","name":"only"} was {"name":"b"}',
      ]);
      await delivers('update cats set extra = extra + 1 where id = 1', [
        'animal.updated {"id":1,"tenant_id":"acme","name":"C","extra":11} was {"extra":10}',
        'animal.updated {"id":1,"tenant_id":"acme","name":"K","extra":2} was {"extra":1}',
      ]);
      await delivers('delete from kittens', ['animal.deleted {"id":1,"tenant_id":"acme","name":"K","extra":2}']);
      await delivers('delete from animals', [
        'animal.deleted {"id":1,"tenant_id":"acme","name":"only"}',
        'animal.deleted {"id":2,"tenant_id":"acme","name":"only"}',
        'animal.deleted {"id":1,"tenant_id":"acme","name":"C"}',
        'animal.deleted {"id":3,"tenant_id":"acme","name":"D"}',
      ]);
    });
    await database.query('drop table animals cascade');
  });

  test('keys that rows pass on in a statement over parent and child end as they are in the tables', async () => {
    await database.query(`
      create table animals (id int primary key, tenant_id text);
      create table cats (primary key (id)) inherits (animals);
      insert into animals values (1, 'acme'); insert into cats values (7, 'acme'), (5, 'acme')`);
    await watched('animals', '', async () => {
      await delivers('update animals set id = id + 2', [
        'animals.deleted {"id":1,"tenant_id":"acme"}',
        'animals.deleted {"id":5,"tenant_id":"acme"}',
        'animals.deleted {"id":7,"tenant_id":"acme"}',
        'animals.created {"id":3,"tenant_id":"acme"}',
        'animals.created {"id":7,"tenant_id":"acme"}',
        'animals.created {"id":9,"tenant_id":"acme"}',
      ]);
    });
    const order = await database.query(
      "select event_types[1] as event from rowhook.webhook_outbox where row_key = '7' and event_types[1] ~ '^animals' order by id",
    );
    expect(order.map(({ event }) => event)).toEqual(['animals.deleted', 'animals.created']);
    await database.query('drop table animals cascade');
  });

  test('a child that comes later, leaves, or is watched by itself', async () => {
    await database.query(`
      create table animals (id int primary key, tenant_id text);
      create table dogs () inherits (animals);
      select rowhook.watch('dogs', prefix => 'dog');
      select rowhook.watch('animals', prefix => 'animal')`);
    await delivers("insert into dogs values (1, 'acme'); insert into animals values (1, 'acme')", [
      'dog.created {"id":1,"tenant_id":"acme"}',
      'animal.created {"id":1,"tenant_id":"acme"}',
    ]);

    await database.query('create table cats () inherits (animals)');
    expect(await reconcile()).toEqual(['public.cats: watched: it inherits from public.animals']);
    expect(await reconcile()).toEqual([]);
    await delivers("insert into cats values (2, 'acme')", ['animal.created {"id":2,"tenant_id":"acme"}']);
    await expect(database.query("select rowhook.unwatch('cats')")).rejects.toMatchObject({
      message: 'unwatch: public.cats is watched because it inherits from public.animals',
      hint: 'Unwatch the parent table, or watch this table by itself, with its own settings.',
    });
    // new settings of the parent are the child's too
    await database.query("select rowhook.watch('animals', prefix => 'beast')");
    await delivers("insert into cats values (3, 'acme'); insert into dogs values (3, 'acme')", [
      'beast.created {"id":3,"tenant_id":"acme"}',
      'dog.created {"id":3,"tenant_id":"acme"}',
    ]);

    await database.query('alter table cats no inherit animals');
    expect(await reconcile()).toEqual(['public.cats: forgotten: it no longer inherits']);
    await delivers("insert into cats values (4, 'acme')", []);
    await database.query("select rowhook.unwatch('animals')");
    await delivers("insert into dogs values (4, 'acme')", ['dog.created {"id":4,"tenant_id":"acme"}']);
    await database.query("select rowhook.unwatch('dogs'); drop table animals, cats cascade");
    expect(await database.query('select from rowhook.webhook_sources')).toEqual([]);
  });
});

test('a table that was dropped is kept by its name, and forgotten with its partitions and children', async () => {
  await database.query(`
    create table parted (id int primary key, tenant_id text) partition by list (id);
    create table parted_1 partition of parted for values in (1);
    create table parent (id int primary key, tenant_id text);
    create table child () inherits (parent)`);
  const before = await catalogOf(database);
  await database.query("select rowhook.watch('parted'); select rowhook.watch('parent')");
  await database.query('drop table parted; drop table parent cascade');
  const kept = (table: string) =>
    `${table}: its table was dropped; the source is kept for 7 days, in case the table comes back: select rowhook.unwatch('${table}') removes it now`;
  expect(await reconcile()).toEqual([
    'public.child: forgotten: its table was dropped',
    kept('public.parent'),
    kept('public.parted'),
  ]);
  expect(await reconcile()).toEqual([]);
  await database.query("select rowhook.unwatch('public.parent')");
  await database.query("update rowhook.webhook_sources set lost_at = now() - interval '8 days'");
  expect(await reconcile()).toEqual(['public.parted: forgotten: its table was dropped']);
  const left = await catalogOf(database);
  expect(left.filter((line) => !before.includes(line))).toEqual([]);
});

test('a foreign table under it is refused, since PostgreSQL cannot collect its changes', async () => {
  const available = await database.query("select from pg_available_extensions where name = 'postgres_fdw'");
  if (available.length === 0) return;
  await database.query(`
    create extension postgres_fdw;
    create server elsewhere foreign data wrapper postgres_fdw;
    create table parted (id int, tenant_id text) partition by list (id);
    create foreign table far partition of parted for values in (2) server elsewhere;
    create table parent (id int, tenant_id text);
    create foreign table far_child () inherits (parent) server elsewhere`);
  await expect(database.query("select rowhook.watch('parted')")).rejects.toMatchObject({
    message: 'watch: public.parted has a foreign table under it, public.far, whose changes PostgreSQL cannot collect',
    hint: 'Detach the foreign table, as its owner: alter table public.parted detach partition public.far;',
  });
  await expect(database.query("select rowhook.watch('parent')")).rejects.toThrow('has a foreign table under it');

  // one that comes later makes PostgreSQL refuse statements, which reconcile() tells
  await database.query("alter table parted detach partition far; select rowhook.watch('parted')");
  expect(await reconcile()).toEqual([]);
  await database.query('alter table parted attach partition far for values in (2)');
  expect(await reconcile()).toEqual([
    'public.parted: PostgreSQL refuses UPDATE and DELETE on this table, because it cannot collect the changes of the foreign table public.far: detach the foreign table, or unwatch this table',
  ]);
  await database.query("select rowhook.unwatch('parted')");
});
