// A tenant that does whatever a tenant can do, at random: webhooks of every kind, good and bad ones; rows and events of all sizes;
// receivers that answer, fail, hang and break off.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { badFilters, goodFilters } from '../match/filters.corpus.ts';
import { type Counter, startCounter } from './counter.ts';

const TENANT = 'hostile';
const SESSIONS = 3;
/** Deliveries that it asks for in a second on average: otherwise a run would take days to end. */
const DELIVERIES_PER_SECOND = 400;
const DELIVERIES_AT_ONCE = 12_000;
const BYTES_PER_SECOND = 2 * 1024 * 1024;
const MIB = 1024 * 1024;
const WEBHOOKS_MAX = 1_000;
const ROWS_MAX = 50_000;

export interface Deed {
  /** Milliseconds since 1970. */
  at: number;
  what: string;
}

type Chance = () => number;
type Statement = [what: string, text: string, values: unknown[]];

export class HostileTenant {
  readonly deeds: Deed[] = [];
  /** Statements by what they wanted: how often they were done, and how often refused. */
  readonly counts = new Map<string, { done: number; refused: number }>();
  readonly #databaseUrl: string;
  readonly #chance: Chance;
  readonly #endpoints: string;
  readonly #control: Counter;
  readonly #closers: (() => Promise<unknown>)[];
  readonly #startedAt = performance.now();
  #running: Promise<unknown> = Promise.resolve();
  #stopped = false;
  #webhooks = 1;
  #deliveries = 0;
  #bytes = 0;

  private constructor(
    databaseUrl: string,
    chance: Chance,
    endpoints: string,
    control: Counter,
    closers: (() => Promise<unknown>)[],
  ) {
    [this.#databaseUrl, this.#chance, this.#endpoints] = [databaseUrl, chance, endpoints];
    [this.#control, this.#closers] = [control, closers];
  }

  /** It has a webhook that it leaves alone, and whose receiver answers at once: nothing for it may be lost. */
  static async start(databaseUrl: string, chance: Chance): Promise<HostileTenant> {
    const endpoints = createServer(answer).on('clientError', (_, socket) => socket.destroy());
    await new Promise<void>((listening) => endpoints.listen(0, '127.0.0.1', listening));
    const control = await startCounter();
    const client = new pg.Client(databaseUrl);
    await client.connect();
    await client.query(`
      create table hostile_rows (
        id bigint primary key generated always as identity,
        tenant_id text not null default '${TENANT}',
        n int not null default 0,
        a text,
        b jsonb
      );
      select rowhook.watch('hostile_rows', prefix => 'row')`);
    await client.query(
      `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, max_in_flight)
       values ($1, 'control', $2, '{*}', 64)`,
      [TENANT, control.url],
    );
    await client.end();
    const close = async () => {
      endpoints.closeAllConnections();
      await new Promise((closed) => endpoints.close(closed));
    };
    const url = `http://127.0.0.1:${(endpoints.address() as AddressInfo).port}`;
    return new HostileTenant(databaseUrl, chance, url, control, [close, () => control.close()]);
  }

  /** Events that came to the receiver that is left alone. */
  get controlEvents(): number {
    return this.#control.received.size;
  }

  begin(): void {
    this.#running = Promise.all(Array.from({ length: SESSIONS }, () => this.#act()));
  }

  /** Ends what it does, and deletes its webhooks except one. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    const client = new pg.Client(this.#databaseUrl);
    await client.connect();
    await client.query(`delete from rowhook.webhook_configurations where tenant_id = $1 and name <> 'control'`, [
      TENANT,
    ]);
    await client.query('delete from rowhook.webhook_tenants where id = $1', [TENANT]);
    await client.end();
  }

  async close(): Promise<void> {
    for (const close of this.#closers) await close();
  }

  async #act(): Promise<void> {
    const client = new pg.Client(this.#databaseUrl);
    client.on('error', () => {});
    await client.connect();
    await client.query("set statement_timeout = '30s'");
    while (!this.#stopped) {
      const [what, statement, values] = this.#pick(this.#kinds())();
      this.deeds.push({ at: performance.timeOrigin + performance.now(), what });
      const kind = what.split(',')[0] as string;
      const count = this.counts.get(kind) ?? { done: 0, refused: 0 };
      this.counts.set(kind, count);
      await client.query(statement, values).then(
        () => {
          count.done += 1;
        },
        async (error: Error & { code?: string }) => {
          count.refused += 1;
          if (error.code === undefined) throw error;
          await client.query('rollback').catch(() => {});
        },
      );
      await sleep(this.#chance() ** 4 * 1_000);
    }
    await client.end();
  }

  /** What it may do next: one of these. What is there more often is done more often. */
  #kinds(): (() => Statement)[] {
    const kinds: (() => Statement)[] = [
      () => ['change a webhook', ...this.#change()],
      () => ['delete a webhook', deleteSome(1), [TENANT]],
      () => ['switch a webhook', updateSome('is_active = not is_active', 1), [TENANT]],
      () => ['limit the tenant', LIMIT, [TENANT, this.#pick([null, 1, 8, 500]), this.#pick([null, 0.5, 100])]],
      () => ['replay', REPLAY, [TENANT, this.#pick(['given_up', 'missed', 'all', 'x'])]],
      () => ['test a webhook', TEST, [TENANT]],
    ];
    const more = (count: number, kind: () => Statement) => kinds.push(...Array.from({ length: count }, () => kind));
    if (this.#webhooks < WEBHOOKS_MAX) more(3, () => this.#create());
    else more(1, () => this.#deleteAll());
    const seconds = (performance.now() - this.#startedAt) / 1_000;
    const isWithin =
      this.#deliveries < seconds * DELIVERIES_PER_SECOND + DELIVERIES_AT_ONCE &&
      this.#bytes < seconds * BYTES_PER_SECOND;
    if (isWithin) more(8, () => this.#write());
    return kinds;
  }

  #create(): Statement {
    const count = this.#pick([1, 1, 1, 1, 20, 300]);
    this.#webhooks += count;
    const { names, values } = this.#webhook();
    const statement = `insert into rowhook.webhook_configurations (tenant_id, ${names.join(', ')})
      select $1, ${names.map((_, i) => `$${i + 2}`).join(', ')} from generate_series(1, ${count})`;
    return [`create webhooks, ${count}`, statement, [TENANT, ...values]];
  }

  #deleteAll(): Statement {
    this.#webhooks = 1;
    return ['delete all webhooks', deleteSome(10_000), [TENANT]];
  }

  #change(): [string, unknown[]] {
    const { names, values } = this.#webhook();
    const set = names.map((name, i) => `${name} = $${i + 2}`).join(', ');
    return [updateSome(set, this.#pick([1, 1, 1, 50])), [TENANT, ...values]];
  }

  /** One that is good in most of its columns. */
  #webhook(): { names: string[]; values: unknown[] } {
    const path = this.#pick(['ok', 'ok', 'slow', 'hang', '500', 'close', 'drip', 'huge', 'redirect', '410', 'half']);
    const columns: Record<string, unknown> = { name: 'w', url: `${this.#endpoints}/${path}`, event_types: ['*'] };
    const sometimes = (column: string, good: readonly unknown[], bad: readonly unknown[]) => {
      if (this.#chance() < 0.3) columns[column] = this.#chance() < 0.06 ? this.#pick(bad) : this.#pick(good);
    };
    const text = (length: number) => 'x'.repeat(Math.floor(length * this.#chance()));
    const many = (count: number, value: string) =>
      JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-h${i}`, value])));
    sometimes('url', ['http://127.0.0.1:1/', 'http://unknown.invalid/'], ['ftp://x', 'http://10.0.0.1/', text(5_000)]);
    sometimes('name', ['a', text(250) || 'b'], ['', text(9_000)]);
    sometimes('description', [text(100), text(30_000)], [text(4 * MIB)]);
    sometimes('event_types', [['row.*'], ['row.created', 'a.b'], manyTypes(100)], [[], ['**'], manyTypes(3_000)]);
    const contains = ['{"data.a":{"$contains":"x"}}', '{"data":{"$contains":"x"}}', '{"data.b":{"$contains":7}}'];
    sometimes(
      'filter',
      [...goodFilters, ...contains, ...contains],
      badFilters.map(([filter]) => filter),
    );
    sometimes(
      'headers',
      ['{"x-a":"b"}', many(20, text(700))],
      ['{"a b":""}', '{"x":"a\\r\\nb"}', many(2_000, text(4_000))],
    );
    if (this.#chance() < 0.3) Object.assign(columns, this.#authentication(text));
    sometimes('http_method', ['PUT', 'PATCH'], ['GET']);
    sometimes('timeout_ms', [1_000, 3_000, 30_000], [0, 99_999]);
    sometimes('max_in_flight', [1, 100, 1_000], [0, 100_000]);
    sometimes('rate_limit_per_second', [0.1, 10, 100_000], [0, 1e9]);
    sometimes('retry_delay_seconds', [1, 5], [0]);
    sometimes('retry_attempts', [0, 3, 20], [999]);
    this.#payload(columns);
    if (this.#chance() < 0.2) columns.ordering = this.#chance() < 0.1 ? 'x' : 'row';
    else sometimes('batch_max_events', [2, 100], [0, 101]);
    sometimes('batch_max_wait_ms', [0, 100, 5_000], [-1, 60_000]);
    return { names: Object.keys(columns), values: Object.values(columns) };
  }

  /** A format, or a template that tries to take all it can get. */
  #payload(columns: Record<string, unknown>): void {
    if (this.#chance() < 0.8) return;
    columns.payload_format = this.#pick(['flat', 'cloudevents', 'slack', 'discord', 'teams', 'template', 'xml']);
    if (columns.payload_format !== 'template') return;
    columns.payload_template = this.#pick([
      '{"id": {{ data.id | json }}}',
      '{{ data }}',
      '{% for i in (1..1000000) %}{{ data | json }}{% endfor %}',
      '{% for i in (1..40) %}{% assign s = s | append: data | append: s | sort %}{% endfor %}{{ s }}',
      '{% include "x" %}',
      '{{ data',
      ' '.repeat(20_000),
    ]);
    if (this.#chance() < 0.5) columns.content_type = this.#pick(['text/plain', 'application/xml', 'x']);
  }

  #authentication(text: (length: number) => string): Record<string, unknown> {
    const long = this.#pick([10, 100, 4_000, MIB]);
    return this.#pick([
      { auth_type: 'bearer', auth_config: { token: text(long) } },
      { auth_type: 'basic', auth_config: { username: 'u', password: text(long) } },
      { auth_type: 'api_key', auth_config: { header_name: 'x-key', header_value: text(long) } },
      { auth_type: 'basic', auth_config: { token: 1 } },
      { auth_type: 'x', auth_config: {} },
    ]);
  }

  #write(): Statement {
    const rowsMax = Math.min(20_000, (DELIVERIES_AT_ONCE * (1 + this.#chance())) / Math.min(this.#webhooks, 100));
    const rows = Math.max(1, Math.floor(rowsMax * this.#chance() ** 2));
    const size = Math.floor(MIB * this.#chance() ** 6);
    const large = this.#pick(LARGE);
    const statement = this.#pick<Statement>([
      [`insert rows, ${rows}`, INSERT_ROWS, [rows]],
      [`update rows, ${rows}`, UPDATE_ROWS, [rows]],
      [`delete rows, ${rows}`, DELETE_ROWS, [rows]],
      [
        `keep rows uncommitted, ${rows}`,
        `begin; ${OPEN(rows)}; select pg_sleep(1); ${this.#pick(['commit', 'rollback'])}`,
        [],
      ],
      [`insert a text, ${size} bytes`, 'insert into hostile_rows (a) values (repeat($1, $2))', ['x', size]],
      [`insert json, ${size} bytes of ${large}`, `insert into hostile_rows (b) select ${large}`, [size]],
      [
        `emit, ${size} bytes of ${large}`,
        `select rowhook.emit($2, to_json(${large}), $3) from generate_series(1, 4)`,
        [size, this.#pick(TYPES), TENANT],
      ],
    ]);
    const isOfRows = statement[0].includes(' rows');
    this.#deliveries += (isOfRows ? rows : 4) * Math.min(this.#webhooks, 100);
    this.#bytes += isOfRows ? rows * 200 : 4 * size;
    return statement;
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#chance() * list.length)] as T;
  }
}

/** JSON of as many characters as $1 says, about. */
const LARGE = [
  "(select coalesce(jsonb_agg(n % 10), '[]') from generate_series(1, $1::int / 3) as n)",
  "(select coalesce(jsonb_agg('x' || n), '[]') from generate_series(1, $1::int / 10) as n)",
  "(select coalesce(jsonb_object_agg('k' || n, n), '{}') from generate_series(1, $1::int / 15) as n)",
  "to_jsonb(repeat('\\\\u0000x\"', $1::int / 12))",
] as const;
const TYPES = ['a.b', 'row.created', 'a.b.c.d.e', `t.${'x'.repeat(200)}`, '', 'a b', '*', 'A.B'] as const;

const INSERT_ROWS =
  "insert into hostile_rows (a, b) select md5(n::text), jsonb_build_object('n', n) from generate_series(1, $1) as n";
const UPDATE_ROWS =
  'update hostile_rows set n = n + 1 where id in (select id from hostile_rows order by id desc limit $1)';
const DELETE_ROWS = `
  delete from hostile_rows where id in (select id from hostile_rows order by id limit $1)
     or id < (select max(id) - ${ROWS_MAX} from hostile_rows)`;
const OPEN = (rows: number) => `insert into hostile_rows (n) select n from generate_series(1, ${rows}) as n`;
const LIMIT = `
  insert into rowhook.webhook_tenants (id, max_in_flight, rate_limit_per_second) values ($1, $2, $3)
  on conflict (id) do update set max_in_flight = excluded.max_in_flight, rate_limit_per_second = excluded.rate_limit_per_second`;

const REPLAY = `
  select rowhook.replay(id, now() - interval '20 s', null, "only" => $2)
    from rowhook.webhook_configurations where tenant_id = $1 and name <> 'control' order by random() limit 1`;
const TEST = `
  select rowhook.test(id) from rowhook.webhook_configurations
   where tenant_id = $1 and name <> 'control' order by random() limit 1`;

const some = (count: number) => `id in (
  select id from rowhook.webhook_configurations where tenant_id = $1 and name <> 'control' order by random() limit ${count})`;
const deleteSome = (count: number) => `delete from rowhook.webhook_configurations where ${some(count)}`;
const updateSome = (set: string, count: number) =>
  `update rowhook.webhook_configurations set ${set} where ${some(count)}`;

function manyTypes(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `type${i}.*`);
}

/** By the path of the request. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  request.on('error', () => {});
  response.on('error', () => {});
  request.resume();
  const end = (status: number, body = '', headers: Record<string, string> = {}) =>
    request.once('end', () => response.writeHead(status, headers).end(body));
  const path = request.url ?? '';
  if (path === '/slow') request.once('end', () => setTimeout(() => response.end(), 900));
  else if (path === '/500') end(500, 'no');
  else if (path === '/410') end(410);
  else if (path === '/redirect') end(302, '', { location: '/ok' });
  else if (path === '/huge') end(200, 'x'.repeat(2 * MIB));
  else if (path === '/close') request.socket.destroy();
  else if (path === '/half')
    request.once('end', () => {
      response.writeHead(200, { 'content-length': '10' });
      response.write('x');
      setTimeout(() => request.socket.destroy(), 50);
    });
  else if (path === '/drip') {
    const timer = setInterval(() => response.write('x'), 100);
    response.once('close', () => clearInterval(timer));
  } else if (path !== '/hang') end(200);
}
