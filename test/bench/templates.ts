// Templates: what other tenants notice of one that never ends, and what webhooks without a template pay for those with one.

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Child } from './child.ts';
import { compare, createWebhooks } from './drain.ts';
import { type Figure, figureOf, inTurns, quantile } from './figure.ts';
import { quietly } from './host.ts';
import { INSERT, latencies } from './latency.ts';
import type { Database, Stage } from './stage.ts';

export async function templates(stage: Stage): Promise<Figure[]> {
  return [await besideHostile(stage), await plainDrain(stage)];
}

const HOSTILE = `{% for i in (1..1000000) %}{% for j in (1..1000000) %}{{ i }}{% endfor %}{% endfor %}`;
const EVERY_MS = 20;

/** The tenant of the template: an event every EVERY_MS, to a receiver of its own. */
class Neighbour {
  readonly #database: Database;
  readonly #receiver = new Child('receiver.ts');
  #port = 0;

  constructor(database: Database) {
    this.#database = database;
  }

  async open(): Promise<void> {
    this.#port = await this.#receiver.ask<number>('listen');
  }

  /** `template` null: the same events go to a plain webhook. */
  async during<T>(template: string | null, work: () => Promise<T>): Promise<T> {
    await this.#database.query(
      `insert into rowhook.webhook_configurations
         (tenant_id, name, url, event_types, payload_format, payload_template, content_type)
       values ('hostile', 'hostile', $1, '{bench.hostile}', $2, $3, $4)`,
      [
        `http://127.0.0.1:${this.#port}/hook`,
        ...(template === null ? ['nested', null, null] : ['template', template, 'text/plain']),
      ],
    );
    const writer = new pg.Client(this.#database.url);
    await writer.connect();
    let goesOn = true;
    const emit = async () => {
      while (goesOn) {
        await writer.query("select rowhook.emit('bench.hostile', '{}', 'hostile')");
        await sleep(EVERY_MS);
      }
    };
    const emitting = emit();
    try {
      return await work();
    } finally {
      goesOn = false;
      await emitting;
      await writer.end();
      // What waits goes with the webhook.
      await this.#database.query("delete from rowhook.webhook_configurations where tenant_id = 'hostile'");
    }
  }

  stop(): Promise<void> {
    return this.#receiver.stop();
  }
}

function besideHostile(stage: Stage): Promise<Figure> {
  return stage.database(async (database) => {
    await createWebhooks(database, { events: 0 });
    const neighbour = new Neighbour(database);
    const writer = new pg.Client(database.url);
    await writer.connect();
    try {
      await neighbour.open();
      database.startDaemon();
      const events = stage.size(2_000, 60);
      const p99 = async () => quantile(await latencies(database, writer, INSERT, events, EVERY_MS), 0.99);
      await p99();
      const pairs = await inTurns(
        stage.options.rounds,
        () => quietly(() => neighbour.during(null, p99)),
        () => quietly(() => neighbour.during(HOSTILE, p99)),
      );
      return figureOf('p99 beside a template that never ends, against a plain webhook', 'ms', pairs, { most: 1.1 });
    } finally {
      await writer.end();
      await neighbour.stop();
    }
  });
}

async function plainDrain(stage: Stage): Promise<Figure> {
  const events = stage.size(100_000);
  const what = 'drain of a plain webhook with 1,000 webhooks with templates in the database, against none';
  const { figure } = await compare(stage, what, { events }, { events, templates: 1_000 }, 0.95);
  return figure;
}
