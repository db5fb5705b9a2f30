import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { type Range, readLeftOut } from '../../operations/left-out.ts';
import { untilCovered } from '../../operations/missed.ts';
import { daemonRuns, theOne } from '../../operations/webhooks.ts';
import { type Out, progressLine } from '../../shared/terminal.ts';
import { ageText, events } from '../../shared/text.ts';
import { UserError } from '../../shared/user-error.ts';
import { printNothing, printWaiting } from './replay-left-out.ts';

export interface ReplayOptions {
  since?: string;
  until?: string;
  only: string;
  delivery?: string;
  dryRun?: boolean;
  wait?: boolean;
  json?: boolean;
}

const ASK_EVERY_MS = 500;

/** 0 s ago. */
const NOW = '0s';

/** Queues events of a webhook again, under their old ids. The times are those of `time` in config/parse.ts. */
export async function replay(client: pg.Client, webhookId: string, options: ReplayOptions, out: Out): Promise<void> {
  const { since = NOW, until = NOW, only, dryRun = false } = options;
  const range = await resolveRange(client, since, until);
  if (!options.json) out.print(`Events from ${range.since} until ${range.until}.`);
  const line = progressLine(out);
  // 200,000 events take 5 to 7 s
  if (!options.json) line.draw(dryRun ? 'counting …' : 'queueing …');
  if (only !== 'given_up') await untilCovered(client, webhookId);
  const left = await readLeftOut(client, webhookId, range);
  const { rows } = await client
    .query<{ count: string }>('select rowhook.replay($1::uuid, $2::timestamptz, $3::timestamptz, $4, $5) as count', [
      webhookId,
      range.since,
      range.until,
      only,
      dryRun,
    ])
    .finally(line.clear);
  const count = Number(rows[0]?.count);
  if (options.json) {
    const { waiting } = left;
    out.print(
      JSON.stringify({ webhook_id: webhookId, ...range, [dryRun ? 'would_replay' : 'replayed']: count, waiting }),
    );
  } else if (count === 0) {
    printNothing(webhookId, only, range, left, out);
    if (!(await daemonRuns(client)))
      out.print('No daemon runs: an event that none has read yet is sent once "rowhook start" runs.');
  } else if (dryRun) {
    out.print(`Would send ${events(count)}${await filterNote(client, webhookId, only)}. Nothing was queued.`);
  } else {
    out.print(`Queued ${events(count)} again${await filterNote(client, webhookId, only)}, behind what is new.`);
  }
  if (!options.json) printWaiting(webhookId, left, out);
  if (count === 0 || dryRun) return;
  if (options.wait) await waitForReplay(client, webhookId, count, options, out);
  else if (!options.json) out.print('"rowhook logs --follow" shows them.');
}

/** One delivery, now, whatever became of it. */
export async function replayDelivery(
  client: pg.Client,
  deliveryId: string,
  { json }: { json?: boolean },
  out: Out,
): Promise<void> {
  await client.query('select rowhook.replay_delivery($1::uuid)', [deliveryId]);
  out.print(
    json
      ? JSON.stringify({ delivery_id: deliveryId, replayed: 1 })
      : `Queued delivery ${deliveryId} again: "rowhook logs --follow" shows it.`,
  );
}

/** Says how many are left whenever that has changed, until each was attempted. */
async function waitForReplay(
  client: pg.Client,
  id: string,
  count: number,
  { json }: ReplayOptions,
  out: Out,
): Promise<void> {
  const line = progressLine(out);
  const begun = performance.now();
  let before = -1;
  try {
    for (;;) {
      const { left, failed, isActive } = await progress(client, id);
      if (left !== before && !json) {
        if (out.columns === undefined) out.print(`${left} left`);
        else line.draw(progressText(count, left, (performance.now() - begun) / 1_000));
      }
      if (left === 0) {
        line.clear();
        if (json) out.print(JSON.stringify({ webhook_id: id, left, failed }));
        else if (failed === 0) out.print('All of them were delivered.');
        else
          out.print(
            `The attempts of ${failed} of them failed: "rowhook deliveries --webhook ${id}" shows what is tried again.`,
          );
        return;
      }
      before = left;
      if (!isActive)
        throw new UserError(`webhook ${id} is switched off: ${left} wait until "rowhook webhook enable ${id}".`);
      if (!(await daemonRuns(client)))
        throw new UserError(`no daemon runs on this database: ${left} wait for "rowhook start".`);
      await sleep(ASK_EVERY_MS);
    }
  } finally {
    line.clear();
  }
}

/** `1200 of 5000 (24 %), 30 s left`. Others may be waiting from an earlier replay, so there can be more left than were queued. Pure. */
export function progressText(count: number, left: number, seconds: number): string {
  const done = Math.max(0, count - left);
  const share = `${done} of ${count} (${Math.floor((done / count) * 100)} %)`;
  return done === 0 || left === 0 ? share : `${share}, about ${ageText((seconds / done) * left)} left`;
}

async function progress(client: pg.Client, id: string): Promise<{ left: number; failed: number; isActive: boolean }> {
  const { rows } = await client.query<{ left: number; failed: number; isActive: boolean }>(
    `select count(*) filter (where d.state = 'waiting' and d.attempt = 0)::int as left,
            count(*) filter (where d.attempt > 0)::int as failed, c.is_active as "isActive"
       from rowhook.webhook_configurations c
       left join rowhook.webhook_deliveries d on d.webhook_id = c.id and d.replayed
      where c.id = $1
      group by c.is_active`,
    [id],
  );
  return theOne(rows, id);
}

/** SQL counts by type and time; a filter is asked when an event is sent. */
async function filterNote(client: pg.Client, id: string, only: string): Promise<string> {
  if (only === 'given_up') return '';
  const { rowCount } = await client.query(
    'select from rowhook.webhook_configurations where id = $1 and filter is not null',
    [id],
  );
  return rowCount ? ', less what its filter does not pass' : '';
}

/** Both times in UTC. The database's clock says what "ago" is. */
async function resolveRange(client: pg.Client, since: string, until: string): Promise<Range> {
  const inUtc = (time: string) => `to_char((${time}) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
  const { rows } = await client.query<Range & { empty: boolean }>(
    `select ${inUtc(timeSql(since, 1))} as since, ${inUtc(timeSql(until, 2))} as until,
            ${timeSql(since, 1)} >= ${timeSql(until, 2)} as empty`,
    [since, until],
  );
  const [{ empty, ...range }] = rows as [Range & { empty: boolean }];
  if (empty) {
    const end = until === NOW ? 'now' : `--until ${until}`;
    const remedy = AGO.test(since)
      ? 'a time like 2h means two hours ago, so the larger one comes first'
      : 'a time without a zone is UTC, so give yours, as in 2025-10-17T19:30:00+05:45';
    throw new UserError(
      `replay: --since ${since} (${range.since}) is not before ${end} (${range.until}): ${remedy}.`,
      2,
    );
  }
  return range;
}

/** config/parse.ts has made sure that everything else names its zone. */
const AGO = /^\d+[smhd]$/;
function timeSql(text: string, parameter: number): string {
  return AGO.test(text) ? `now() - $${parameter}::interval` : `$${parameter}::timestamptz`;
}
