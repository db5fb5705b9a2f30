// One database in which rowhook and its peers stand side by side. Each has a table of its own, so only one of them works at a time.

import { Logger, makeWorkerUtils } from 'graphile-worker';
import pg from 'pg';
import { Child } from '../child.ts';
import { createWebhooks, floodOf, TENANT } from '../drain.ts';
import type { Marks } from '../receiver.ts';
import type { Daemon, Database, Stage } from '../stage.ts';
import type { Target } from './post.ts';

export const HEALTHY = 'healthy';
export const SLOW = 'slow';

/** Whose process it is, and the statement that gives it an event with the title $1. */
export interface Peer {
  name: string;
  pid: number;
  insert: string;
}

export interface Scene {
  database: Database;
  daemon: Daemon;
  writer: pg.Client;
  rowhook: Peer;
  smallest: Peer;
  graphile: Peer;
}

const insertInto = (table: string) => `insert into ${table} (organization_id, title) values ('${TENANT}', $1)`;

/** Triggers as one writes them by hand. graphile-worker gets a job for each endpoint. */
const TABLES = (endpoints: readonly string[]) => `
  create table peer_logs (
    id bigint primary key generated always as identity,
    event text not null, status int not null, duration_ms int not null, response text not null,
    attempted_at timestamptz not null default now());
  create table smallest_deals (like deals including defaults including indexes);
  create function smallest_deals() returns trigger language plpgsql as $$
    begin perform pg_notify('peer_smallest', row_to_json(new)::text); return null; end $$;
  create trigger peer after insert on smallest_deals for each row execute function smallest_deals();
  create table graphile_deals (like deals including defaults including indexes);
  create function graphile_deals() returns trigger language plpgsql as $$
    begin
      ${endpoints.map((endpoint) => `perform graphile_worker.add_job('deliver', json_build_object('endpoint', '${endpoint}', 'row', row_to_json(new)::text));`).join('\n')}
      return null;
    end $$;
  create trigger peer after insert on graphile_deals for each row execute function graphile_deals();`;

/** `slowOrigin`: a second endpoint. `port`: peers and the daemon reach the database there. */
export async function onScene<T>(
  stage: Stage,
  { slowOrigin, port }: { slowOrigin?: string; port?: number },
  work: (scene: Scene) => Promise<T>,
): Promise<T> {
  return stage.database(async (database) => {
    const origins = { [HEALTHY]: stage.origin, ...(slowOrigin ? { [SLOW]: slowOrigin } : {}) };
    const utils = await makeWorkerUtils({ connectionString: database.url, logger: new Logger(() => () => {}) });
    await utils.migrate();
    await utils.release();
    await database.query(TABLES(Object.keys(origins)));
    await createWebhooks(database, { events: 0 });
    if (slowOrigin)
      await database.query(
        `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types)
         values ('${TENANT}', 'slow', '${slowOrigin}/hook', '{deal.created}')`,
      );
    const daemon = database.startDaemon(0, port);
    const writer = new pg.Client(database.url);
    writer.on('error', () => {});
    await writer.connect();
    const children: Child[] = [];
    try {
      await stage.receiver.ask('reset', { every: 1 });
      await writer.query(insertInto('deals'), ['the first']);
      const { sample } = await stage.received(1);
      const { headers } = floodOf(stage, { sample } as Marks, 0);
      const url = new URL(database.url);
      if (port !== undefined) url.port = String(port);
      const start = async (file: string, table: string, name: string): Promise<Peer> => {
        const child = new Child(`peers/${file}`);
        children.push(child);
        await child.ask('start', { url: url.href, origins, headers } satisfies Target);
        return { name, pid: child.pid, insert: insertInto(table) };
      };
      const scene = {
        database,
        daemon,
        writer,
        rowhook: { name: 'rowhook', pid: daemon.pid, insert: insertInto('deals') },
        smallest: await start('smallest.ts', 'smallest_deals', 'the smallest dispatcher'),
        graphile: await start('graphile.ts', 'graphile_deals', 'graphile-worker'),
      };
      return await work(scene);
    } finally {
      await writer.end();
      for (const child of children) await child.stop();
    }
  });
}
