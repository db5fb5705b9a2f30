/**
 * What a person at the terminal reads: a clear sentence with the remedy (subject, verdict, remedy), never a stack, never a
 * password. Anything that is not a UserError is a bug of ours and keeps its stack.
 */
import { RULES } from '../database/constraint-texts.ts';
import { BY_CODE, BY_TEXT, type CodedError, inputIsWrong, TLS_CODE, withoutPeriod } from '../database/explain-error.ts';

/** Exit code 1: it failed. Exit code 2: it was asked for wrongly. */
export class UserError extends Error {
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 1, options?: ErrorOptions) {
    super(message, options);
    this.name = 'UserError';
    this.exitCode = exitCode;
  }
}

/** `database` stands for the one that was spoken to. */
export function explain(thrown: unknown, database: string): Error {
  const error = (thrown instanceof Error ? thrown : new Error(String(thrown))) as CodedError;
  if (error instanceof UserError) return error;
  const code = error.code ?? '';
  const because = (sentence: string) => new UserError(`${sentence}.`, inputIsWrong(code) ? 2 : 1, { cause: error });

  // PL/pgSQL's RAISE: our own functions speak in the same manner, with the remedy as the hint.
  if (error.routine === 'exec_stmt_raise' && !RULES[error.constraint ?? '']) {
    const sentences = [error.message, error.hint].filter((text) => text !== undefined && text !== '');
    return because(sentences.map((text) => withoutPeriod(text ?? '')).join('. '));
  }
  const sentence = BY_CODE[code] ?? BY_TEXT.find(([pattern]) => code === '' && pattern.test(error.message))?.[1];
  if (sentence) return because(sentence(error, database));
  if (TLS_CODE.test(code)) {
    return because(
      `${database}: its certificate is not trusted (${error.message}): add sslrootcert=/path/to/ca.pem to DATABASE_URL`,
    );
  }
  // Any other SQLSTATE: PostgreSQL's own words, which the hint often completes.
  if (/^[0-9A-Z]{5}$/.test(code) && error.routine !== undefined) {
    const hint = error.hint ? `. ${withoutPeriod(error.hint)}` : '';
    return because(`${database}: ${error.message} (SQLSTATE ${code})${hint}`);
  }
  return error;
}

/** What is not rowhook's own has another owner, who says who may. */
export function forbidden({ message }: CodedError, database: string): string {
  const isOurs = /\b(rowhook|webhooks?_?\w*|_\w+|schema_version|function \w+)\b/.test(message);
  const remedy =
    isOurs || !/^(must be owner of|permission denied for (table|schema))/.test(message)
      ? 'connect as a role that rowhook_owner is granted to'
      : 'connect as its owner, or as a member of that role';
  return `${database}: ${message}: ${remedy}`;
}
