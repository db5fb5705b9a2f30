/** A call that was refused, or that found no server, as an error that a program can throw. */
import type { Problem } from './types.ts';

/** What is wrong with a field, by the field's name in the API. */
export type FieldProblem = NonNullable<Problem['errors']>[number];

/** A problem (RFC 9457). Its status is 0, and its code `unreachable`, where no server answered. */
export class RowhookError extends Error {
  readonly status: number;
  /** Stable: a program decides by this. */
  readonly code: string;
  readonly errors: readonly FieldProblem[];

  constructor(status: number, code: string, detail: string, errors: readonly FieldProblem[] = []) {
    super(detail);
    this.name = 'RowhookError';
    this.status = status;
    this.code = code;
    this.errors = errors;
  }
}

interface Result<T> {
  data?: T | undefined;
  error?: unknown;
  response: Response;
}

/** The data of a call: `await answerOf(client.GET(…))`. What is refused is thrown. */
export async function answerOf<T>(call: Promise<Result<T>>): Promise<T> {
  const { data, error, response } = await call.catch((cause: Error) => {
    if (cause.name === 'AbortError') throw cause;
    throw new RowhookError(0, 'unreachable', 'The server cannot be reached. Check the connection, then try again.');
  });
  if (!response.ok) throw problemOf(response.status, error);
  return data as T;
}

/** A proxy may answer in place of the server, with a page. */
function problemOf(status: number, error: unknown): RowhookError {
  if (typeof error !== 'object' || error === null || !('code' in error))
    return new RowhookError(status, 'error', `The server answered ${status}. Try again in a moment.`);
  const { code, detail, errors } = error as Problem;
  return new RowhookError(status, String(code), String(detail), Array.isArray(errors) ? errors : []);
}
