/** One attempt with its exact request and response. Returns values only. */
import type pg from 'pg';
import { curlCommand, quoted } from '../../shared/shell-quote.ts';
import { printable, printableLines } from '../../shared/terminal.ts';
import { findAttempt, type LoggedAttempt, rebuild } from './rebuild-request.ts';

export interface AttemptDetail {
  row: LoggedAttempt;
  /** The bytes of the body, as text. Null: `note` says why. */
  body: string | null;
  /** Why there is no body. */
  note: string | null;
  /** The request as a command, with secrets masked. Null: there is no body, or it is too long for one. */
  curl: string | null;
}

/** Limit on a body in a curl argument. */
export const ARGUMENT_BYTES_MAX = 100_000;

/** Undefined: the session's tenant has no such attempt. */
export async function readAttempt(client: pg.ClientBase, id: string): Promise<AttemptDetail | undefined> {
  const row = await findAttempt(client, id);
  if (row === undefined) return undefined;
  const body = row.status === 'skipped' ? 'nothing was sent' : await rebuild(client, row);
  if (typeof body === 'string') return { row, body: null, note: body, curl: null };
  return { row, body: body.text, note: null, curl: curlOf(row, body.text) };
}

/** Null: the body cannot be an argument. Pure. */
export function curlOf(row: LoggedAttempt, body: string): string | null {
  if (printableLines(body) !== body || Buffer.byteLength(body) > ARGUMENT_BYTES_MAX) return null;
  return curlCommand(requestOf(row), quoted(body));
}

export function requestOf({ request_method, request_url, request_headers }: LoggedAttempt) {
  return {
    method: request_method ?? 'POST',
    url: printable(request_url),
    headers: Object.entries(request_headers ?? {}).map(([name, value]) => printable(`${name}: ${value}`)),
  };
}
