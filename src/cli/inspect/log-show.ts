/** `rowhook logs show`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { wholeNumber } from '../../config/parse.ts';
import type { Body, LoggedAttempt } from '../../operations/history/rebuild-request.ts';
import { curlCommand } from '../../shared/shell-quote.ts';
import { type Out, printable, printableLines, printPairs } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';
import { type Cli, help, onDatabase, parsed } from '../define.ts';

export function addLogsShow(logs: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    logs
      .command('show')
      .description('show one attempt: request, response, and a curl command that repeats it')
      .argument(
        '<id>',
        'the log number: the first column of "rowhook logs"',
        parsed('log id', wholeNumber(1, Number.MAX_SAFE_INTEGER)),
      )
      .option('--body', 'print only the request body, byte for byte'),
    (client, id: number, flags: { body?: boolean; json?: boolean }) => showLog(client, String(id), flags, cli.out),
  );
  help(
    command,
    ['rowhook logs show 4711', 'rowhook logs show 4711 --body | jq .data'],
    'The request body is rebuilt from the outbox, which keeps events for 7 days. Secrets are masked.',
  );
}

async function showLog(
  client: pg.Client,
  id: string,
  options: { body?: boolean; json?: boolean },
  out: Out,
): Promise<void> {
  const { findAttempt, rebuild } = await import('../../operations/history/rebuild-request.ts');
  const row = await findAttempt(client, id);
  if (!row) throw new UserError(`log ${id} does not exist. "rowhook logs" shows the log numbers.`);
  const body = row.status === 'skipped' ? 'nothing was sent' : await rebuild(client, row);
  if (options.body) {
    if (typeof body === 'string') throw new UserError(`log ${id} has no body: ${body}.`);
    // Tenants write the body, and a terminal would execute its control characters.
    if (out.columns === undefined) out.write(body.text);
    else out.print(printableLines(body.text));
  } else if (options.json) {
    const { text = null, verified = null } = typeof body === 'string' ? {} : body;
    const note = typeof body === 'string' ? body : undefined;
    const curl = typeof body === 'string' ? null : await curlOf(row, body.text);
    out.print(JSON.stringify({ ...row, request_body: text, request_body_verified: verified, note, curl }));
  } else {
    await print(row, body, out);
  }
}

async function print(row: LoggedAttempt, body: Body | string, out: Out): Promise<void> {
  printPairs(out, [
    ['log', `${row.id}, attempt ${row.attempt} of delivery ${row.delivery_id}`],
    ['webhook', `${row.webhook_id} ${row.webhook_name}`],
    ['tenant', row.tenant_id],
    ['event', `${row.event_type} ${row.event_id}`],
    ['started', `${row.attempted_at.toISOString()}, took ${row.duration_ms ?? 0} ms`],
    ['result', { text: `${row.status}: ${row.code}`, style: row.status === 'success' ? 'green' : 'red' }],
    ...(row.error ? ([['error', row.error]] as const) : []),
    ...(row.remote_ip ? ([['address', row.remote_ip]] as const) : []),
    ...(row.next_attempt_at ? ([['next attempt', row.next_attempt_at.toISOString()]] as const) : []),
  ]);
  const title = (text: string) => out.print(`\n${out.paint('bold', text)}`);
  if (row.request_headers && row.status !== 'skipped') {
    title(printable(`${row.request_method} ${row.request_url}`));
    printHeaders(row.request_headers, out);
  }
  if (typeof body === 'string') {
    out.print(`\nNo request body: ${body}.`);
  } else {
    out.print(`\n${printableLines(body.text)}`);
    out.print(
      out.paint(
        'dim',
        body.verified
          ? 'This is the body that was sent, byte for byte: its signature matches.'
          : 'The body was rebuilt. The secret has changed since then, so the signature cannot be checked.',
      ),
    );
  }
  if (row.response_status !== null) {
    title(`Response ${row.response_status}`);
    printHeaders(row.response_headers ?? {}, out);
    if (row.response_body) out.print(`\n${printableLines(row.response_body)}`);
  }
  if (typeof body === 'string') return;
  title('The same request with curl, without secrets');
  out.print(await curlOf(row, body.text));
}

function printHeaders(headers: Record<string, string>, out: Out): void {
  for (const [name, value] of Object.entries(headers)) out.print(printable(`${name}: ${value}`));
}

/** A body goes through a pipe if it is too long for an argument, or not printable as it is. */
async function curlOf(row: LoggedAttempt, body: string): Promise<string> {
  const { curlOf: asArgument, requestOf } = await import('../../operations/history/attempt-detail.ts');
  return asArgument(row, body) ?? `rowhook logs show ${row.id} --body | ${curlCommand(requestOf(row), '@-')}`;
}
