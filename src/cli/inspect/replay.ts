/** `rowhook replay`. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type pg from 'pg';
import { deliveryId, time, webhookId } from '../../config/parse.ts';
import { type Out, progressLine } from '../../shared/terminal.ts';
import { ageText, events } from '../../shared/text.ts';
import { UserError } from '../../shared/user-error.ts';
import { type Cli, help, onDatabase, parsed } from '../define.ts';
import { printNothing, printWaiting } from './replay-left-out.ts';

interface ReplayOptions {
  since?: string;
  until?: string;
  only: string;
  delivery?: string;
  dryRun?: boolean;
  wait?: boolean;
  json?: boolean;
}

const ASK_EVERY_MS = 500;

export function addReplay(program: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    program
      .command('replay')
      .description('send past events again')
      .argument('[id]', "the webhook's id", parsed('webhook id', webhookId))
      .option(
        '--since <time>',
        'start: a time such as 2025-10-17T19:30:00Z (UTC if it has no zone), or an age such as 2h or 3d',
        parsed('--since', time),
      )
      .option('--until <time>', 'end, written in the same way (default: now)', parsed('--until', time))
      .option(
        '--only <what>',
        'given_up (no attempts left), missed (never delivered) or all; events that wait are left out',
        'given_up',
      )
      .option('--delivery <id>', 'send this one delivery now, whatever its state', parsed('--delivery', deliveryId))
      .option('--dry-run', 'count the events, and queue nothing')
      .option('--wait', 'wait until each event was attempted, and print how many are left'),
    async (client, id: string | undefined, flags: ReplayOptions) => {
      if (flags.delivery !== undefined) await replayDelivery(client, flags.delivery, flags, cli.out);
      else await replay(client, id ?? '', flags, cli.out);
    },
  ).hook('preAction', (replaying) => {
    const { delivery, since } = replaying.opts();
    const range = replaying.args.length > 0 && since !== undefined;
    if (delivery === undefined ? !range : replaying.args.length > 0 || since !== undefined)
      throw new UserError("replay: give a webhook's id and --since, or give --delivery.", 2);
    const unheeded = ['until', 'only', 'dryRun', 'wait'].filter(
      (flag) => replaying.getOptionValueSource(flag) === 'cli',
    );
    if (delivery !== undefined && unheeded.length > 0)
      throw new UserError(
        `replay: --delivery sends one delivery now, so ${unheeded.map(flagOf).join(', ')} cannot be used with it.`,
        2,
      );
  });
  help(
    command,
    [
      'rowhook replay 1f0c… --since 2h --only missed --dry-run',
      'rowhook replay 1f0c… --since 2025-10-17 --until 2025-10-18 --wait',
      'rowhook replay --delivery 6ba7…',
    ],
    [
      'A replayed event keeps its webhook-id, so a receiver can ignore duplicates. New events are sent first.',
      'A replay survives restarts. The outbox keeps events for 7 days. It holds events that no webhook wanted only for',
      'tables that are watched with --capture all.',
    ],
  );
}

function flagOf(option: string): string {
  return option === 'dryRun' ? '--dry-run' : `--${option}`;
}

/** Queues events of a webhook again. Their ids stay the same. */
async function replay(client: pg.Client, webhookId: string, options: ReplayOptions, out: Out): Promise<void> {
  const [{ queueReplay, resolveRange }, { readLeftOut }, { untilCovered }, { daemonRuns }] = await Promise.all([
    import('../../operations/history/replay.ts'),
    import('../../operations/history/left-out.ts'),
    import('../../operations/history/missed.ts'),
    import('../../operations/webhooks/webhooks.ts'),
  ]);
  const { since, until, only, dryRun = false } = options;
  const range = await resolveRange(client, since, until);
  if (!options.json) out.print(`Events from ${range.since} until ${range.until}.`);
  const line = progressLine(out);
  // Counting or queueing 200,000 events takes 5 to 7 s.
  if (!options.json) line.draw(dryRun ? 'counting …' : 'queueing …');
  if (only !== 'given_up') await untilCovered(client, webhookId);
  const left = await readLeftOut(client, webhookId, range);
  const count = await queueReplay(client, webhookId, { range, only, dryRun }).finally(line.clear);
  if (options.json) {
    const { waiting } = left;
    out.print(
      JSON.stringify({ webhook_id: webhookId, ...range, [dryRun ? 'would_replay' : 'replayed']: count, waiting }),
    );
  } else if (count === 0) {
    printNothing(webhookId, only, range, left, out);
    if (!(await daemonRuns(client)))
      out.print('No daemon is running. Events that no daemon has read yet are sent after "rowhook start".');
  } else if (dryRun) {
    out.print(`Would send ${events(count)}${await filterNote(client, webhookId, only)}. Nothing was queued.`);
  } else {
    out.print(`Queued ${events(count)} again${await filterNote(client, webhookId, only)}. New events are sent first.`);
  }
  if (!options.json) printWaiting(webhookId, left, out);
  if (count === 0 || dryRun) return;
  if (options.wait) await waitForReplay(client, webhookId, count, options, out);
  else if (!options.json) out.print('"rowhook logs --follow" shows the attempts.');
}

/** Queues one delivery for now, whatever its state. */
async function replayDelivery(
  client: pg.Client,
  deliveryId: string,
  { json }: { json?: boolean },
  out: Out,
): Promise<void> {
  const { queueDelivery } = await import('../../operations/history/replay.ts');
  await queueDelivery(client, deliveryId);
  out.print(
    json
      ? JSON.stringify({ delivery_id: deliveryId, replayed: 1 })
      : `Queued delivery ${deliveryId} again. "rowhook logs --follow" shows the attempt.`,
  );
}

/** Prints how many events are left whenever the number changes, until each was attempted. */
async function waitForReplay(
  client: pg.Client,
  id: string,
  count: number,
  { json }: ReplayOptions,
  out: Out,
): Promise<void> {
  const [{ progress }, { daemonRuns }] = await Promise.all([
    import('../../operations/history/replay.ts'),
    import('../../operations/webhooks/webhooks.ts'),
  ]);
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
            `The attempt failed for ${failed} of them. "rowhook deliveries --webhook ${id}" shows their next attempts.`,
          );
        return;
      }
      before = left;
      if (!isActive)
        throw new UserError(
          `webhook ${id} is switched off: ${events(left)} will wait until you run "rowhook webhook enable ${id}".`,
        );
      if (!(await daemonRuns(client)))
        throw new UserError(`no daemon is running: ${events(left)} will wait until you run "rowhook start".`);
      await sleep(ASK_EVERY_MS);
    }
  } finally {
    line.clear();
  }
}

/**
 * `1200 of 5000 (24 %), 30 s left`. Events of an earlier replay may still wait, so more can be left
 * than were queued. Pure.
 */
export function progressText(count: number, left: number, seconds: number): string {
  const done = Math.max(0, count - left);
  const share = `${done} of ${count} (${Math.floor((done / count) * 100)} %)`;
  return done === 0 || left === 0 ? share : `${share}, about ${ageText((seconds / done) * left)} left`;
}

/** The count ignores the webhook's filter, which is applied when an event is sent. */
async function filterNote(client: pg.Client, id: string, only: string): Promise<string> {
  if (only === 'given_up') return '';
  const { hasFilter } = await import('../../operations/history/replay.ts');
  return (await hasFilter(client, id)) ? ' (fewer if its filter excludes some)' : '';
}
