/** `rowhook webhook test`. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type pg from 'pg';
import { wholeNumber } from '../../config/parse.ts';
import type { TestLog } from '../../operations/webhooks/test-event.ts';
import { type Out, printableLines } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';
import { type Cli, help, onDatabase, parsed } from '../define.ts';
import { type JsonFlag, ofOne } from './flags.ts';

const ASK_EVERY_MS = 200;

export function addTest(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    ofOne(group, 'test', 'send a test event of each type that it wants, and print the responses').option(
      '--wait <seconds>',
      'how long to wait for the responses',
      parsed('--wait', wholeNumber(1, 3_600)),
      30,
    ),
    (client, id: string, flags: JsonFlag & { wait: number }) => testWebhook(client, id, flags, cli.out),
  );
  help(
    command,
    ['rowhook webhook test 1f0c…'],
    'It needs a running daemon. It also sends to a webhook that is switched off.',
    'Exit codes: 0 all responses were 2xx, 1 not all were 2xx, 2 wrong usage.',
  );
}

/** Queues test deliveries and waits for their first attempts. Resolves to the exit code. */
async function testWebhook(
  client: pg.Client,
  id: string,
  options: { wait: number; json?: boolean },
  out: Out,
): Promise<number> {
  const { firstAttempts, queueTest, requireDaemon } = await import('../../operations/webhooks/test-event.ts');
  await requireDaemon(client, id);
  const { outboxIds, count } = await queueTest(client, id);

  const until = performance.now() + options.wait * 1000;
  let logs = await firstAttempts(client, id, outboxIds);
  while (logs.length < count && performance.now() < until) {
    await sleep(ASK_EVERY_MS);
    logs = await firstAttempts(client, id, outboxIds);
  }

  for (const [index, log] of logs.entries()) print(log, logs[index - 1], options.json, out);
  if (logs.length < count) {
    throw new UserError(
      `${count - logs.length} of ${count} test deliveries were not attempted within ${options.wait} s. ` +
        `"rowhook logs --webhook ${id} --follow" shows later attempts.`,
    );
  }
  return logs.every((log) => log.status === 'success') ? 0 : 1;
}

/** An error that is that of the line before is printed once. */
function print(log: TestLog, before: TestLog | undefined, json: boolean | undefined, out: Out): void {
  if (json) {
    out.print(JSON.stringify(log));
    return;
  }
  const result = out.paint(log.status === 'success' ? 'green' : 'red', log.status);
  out.print([log.event_type, result, log.response_status ?? '', log.code, `${log.duration_ms ?? 0} ms`].join('  '));
  if (log.error && log.error !== before?.error) out.print(printableLines(log.error));
  if (log.response_body) out.print(printableLines(log.response_body));
}
