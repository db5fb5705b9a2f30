/**
 * Errors of the API: RFC 9457 with a stable code. Whatever is thrown becomes a Problem here. No
 * problem holds a stack, a statement, or a value of another organization.
 */
import { NoHost } from '../connection/reach.ts';
import { RULES } from '../database/constraint-texts.ts';
import type { CodedError } from '../database/explain-error.ts';
import { isOfStatement } from '../shared/isolate.ts';
import { NotFound, UserError } from '../shared/user-error.ts';

export interface FieldError {
  field: string;
  message: string;
}

/** Each code with its status and its title, as docs/api/README.md lists them. */
export const CODES = {
  bad_request: [400, 'The request is not valid'],
  unauthorized: [401, 'A valid token is needed'],
  forbidden: [403, 'The token may not do this'],
  not_found: [404, 'There is no such thing'],
  method_not_allowed: [405, 'The method is not allowed here'],
  timeout: [408, 'The request took too long'],
  conflict: [409, 'The request does not fit the present state'],
  gone: [410, 'It was removed'],
  precondition_failed: [412, 'It was changed meanwhile'],
  too_large: [413, 'The body is too large'],
  unsupported_media_type: [415, 'The body must be JSON'],
  invalid: [422, 'Some fields are wrong'],
  rate_limited: [429, 'Too many requests'],
  headers_too_large: [431, 'The headers are too large'],
  internal_error: [500, 'Something failed on our side'],
  unavailable: [503, 'Try again in a moment'],
} as const satisfies Record<string, readonly [number, string]>;

export type ProblemCode = keyof typeof CODES;

export class Problem extends Error {
  readonly code: ProblemCode;
  readonly status: number;
  readonly errors: readonly FieldError[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: ProblemCode,
    detail: string,
    { errors = [], headers = {}, cause }: { errors?: FieldError[]; headers?: object; cause?: unknown } = {},
  ) {
    const { stackTraceLimit } = Error;
    // Nobody reads where a request was refused, and a stack takes a twentieth of a refusal's CPU.
    if (CODES[code][0] < 500) Error.stackTraceLimit = 0;
    super(detail, { cause });
    Error.stackTraceLimit = stackTraceLimit;
    this.name = 'Problem';
    this.code = code;
    this.status = CODES[code][0];
    this.errors = errors;
    this.headers = { ...headers };
  }

  toJSON(): object {
    const { code, status, message, errors } = this;
    const about = { type: 'about:blank', title: CODES[code][1], status, detail: message, code };
    return errors.length === 0 ? about : { ...about, errors };
  }
}

/** One text for every token that does not work, so that nobody learns why. */
export const unauthorized = () =>
  new Problem('unauthorized', 'Send a valid token: "Authorization: Bearer …" or "X-API-Key: …".', {
    headers: { 'www-authenticate': 'Bearer' },
  });

export const notFound = (what: string) => new Problem('not_found', `There is no such ${what}.`);

export const invalid = (errors: FieldError[]) =>
  new Problem('invalid', errors.map(({ field, message }) => `${field} ${message}`).join('; '), { errors });

export const unavailable = (detail: string, cause?: unknown, seconds = 2) =>
  new Problem('unavailable', detail, { headers: { 'retry-after': String(seconds) }, cause });

const AWAY = 'The database cannot be reached at the moment.';

/** SQLSTATEs, and errors of the network, that pass by themselves. */
const PASSING: Readonly<Record<string, string>> = {
  '25006': 'The database is read-only at the moment.',
  '40001': 'Another request changed the same thing.',
  '40P01': 'Another request changed the same thing.',
  '53300': 'The database has no free connection.',
  '55P03': 'Another transaction holds what this request needs.',
  '57014': 'The request took too long.',
};

/** Codes of PostgreSQL, and of the operating system: ECONNREFUSED, EAI_AGAIN. Not ERR_…, which are Node's. */
const IS_AWAY = /^(08...|57P0[1-5]|EAI_[A-Z]+|E[A-Z0-9]+)$/;
const SOCKET_ENDED = /Connection terminated|timeout exceeded|timeout expired|not queryable|Query read timeout/i;

/** What a program sent cannot be stored: NUL, or half of a surrogate pair. */
const UNSTORABLE = ['22021', '22P05', '22P02', '22003', '22007', '22008'];

export function toProblem(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown;
  const error = (thrown instanceof Error ? thrown : new Error(String(thrown))) as CodedError;
  const code = error.code ?? '';
  const passing = PASSING[code];
  if (passing) return unavailable(passing, error);
  if (IS_AWAY.test(code) || error instanceof NoHost || SOCKET_ENDED.test(error.message)) {
    return unavailable(AWAY, error);
  }
  if (isOfStatement(error)) return unavailable('The schema has changed meanwhile.', error);
  if (code === 'P0002') return notFound('thing');
  if ((code === '55000' || code === '55006') && error.routine === 'exec_stmt_raise') {
    return new Problem('conflict', sentences(error));
  }
  if (code === '23514' || code === '23502') return invalid([ofRule(error)]);
  if (code === '42501' && error.routine === 'exec_stmt_raise') {
    return new Problem('forbidden', sentences(error));
  }
  if (code.startsWith('FST_')) return ofFastify(error);
  if (UNSTORABLE.includes(code)) {
    return new Problem('invalid', 'The database cannot hold one of the values.', { cause: error });
  }
  if (error instanceof NotFound) return notFound(error.what);
  if (error instanceof UserError) return new Problem('conflict', error.message, { cause: error });
  return new Problem('internal_error', 'The error is in the log of the server.', { cause: error });
}

function sentences({ message, hint }: CodedError & { hint?: string }): string {
  return [message, hint].filter(Boolean).join('. ');
}

/** Columns that have another name in the API. */
const FIELDS: Readonly<Record<string, string>> = { url: 'target_url', tenant_id: 'organization_id' };

export const fieldOf = (column: string) => FIELDS[column] ?? column;

/** The sentence of the database's own rule begins with the column. */
export function ofSentence(sentence: string): FieldError {
  const [, column = 'body', message = sentence] = /^([a-z_]+) ([\s\S]*)$/.exec(sentence) ?? [];
  return { field: fieldOf(column), message };
}

function ofRule(error: CodedError & { column?: string }): FieldError {
  const rule = RULES[error.constraint ?? ''];
  if (rule) return ofSentence(rule);
  const column = error.column ?? 'body';
  if (error.code === '23502') return { field: fieldOf(column), message: 'must not be null' };
  // A trigger's own sentence: table.column: what is wrong. It holds no value of others.
  const [, text] = /^[a-z_.]+: ([\s\S]*)$/.exec(error.routine === 'exec_stmt_raise' ? error.message : '') ?? [];
  return { field: fieldOf(column), message: text ?? 'is not valid' };
}

function ofFastify(error: CodedError & { statusCode?: number }): Problem {
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new Problem('too_large', 'A body may have 1 MiB at most.');
  }
  const status = error.statusCode ?? 500;
  if (status === 415) return new Problem('unsupported_media_type', 'Send JSON, with content-type: application/json.');
  return status >= 500
    ? new Problem('internal_error', 'The error is in the log of the server.', { cause: error })
    : new Problem('bad_request', error.message, { cause: error });
}
