/**
 * Turns a database error into text for the terminal: subject, verdict, remedy. The text never holds
 * a stack or a password. An error that nobody can fix stays unchanged.
 */

import { NoHost } from '../connection/reach.ts';
import { displayDatabase } from '../connection/target.ts';
import { UserError } from '../shared/user-error.ts';
import { RULES } from './constraint-texts.ts';
import { explainTls } from './explain-tls.ts';

/** The fields used here of node-postgres' DatabaseError and of Node's network errors. */
export interface CodedError extends Error {
  readonly code?: string;
  readonly hint?: string;
  readonly routine?: string;
  readonly table?: string;
  readonly constraint?: string;
}

type Explain = (error: CodedError, database: string) => string;

/** One sentence for each SQLSTATE, network code and TLS code that a person can act on. */
export const BY_CODE: Readonly<Record<string, Explain>> = {
  ECONNREFUSED: (_, database) =>
    `${database} refused the connection. Check that PostgreSQL runs there, and check DATABASE_URL`,
  ECONNRESET: (_, database) => `${database} closed the connection. Check that it is PostgreSQL, then try again`,
  EHOSTUNREACH: (_, database) => `${database} cannot be reached. Check the host and the network`,
  ENETUNREACH: (_, database) => `${database} cannot be reached. Check the host and the network`,
  ETIMEDOUT: (_, database) => `${database} does not answer. Check host, port and firewall`,
  EAI_AGAIN: (_, database) =>
    `${database} has a host name that cannot be resolved. Check the name and this machine's DNS`,
  ENOTFOUND: (_, database) => `${database} has a host name that does not exist. Check it in DATABASE_URL`,
  EACCES: ({ message }) =>
    `DATABASE_URL names a file or socket that this user may not open (${message}). Let the user read it`,
  EISDIR: ({ message }) => `DATABASE_URL names a directory where a file is needed (${message}). Check the path`,
  ENOENT: ({ message }) => `DATABASE_URL names a file or socket that does not exist (${message}). Check the path`,

  ERR_TLS_CERT_ALTNAME_INVALID: (_, database) =>
    `${database} has a certificate for another name. Use the name in the certificate, or write sslmode=verify-ca`,

  '22007': badTime,
  '22008': badTime,
  '22009': badTime,
  '22P02': ({ message }) => `${message}. Check the spelling of the value`,
  '23505': ({ message }) => `${message}. Choose another value, or update the existing row`,
  '23514': brokenCheck,
  '25006': (_, database) =>
    `${database} is read-only, as a hot standby is. Connect to the primary; if it was so for a moment, try again`,
  '28000': ({ message }, database) =>
    `${database} refused the login (${message}). Check the user, and whether the server needs ?sslmode=require`,
  '28P01': ({ message }, database) =>
    `${database} refused the login (${message}). Check user and password in DATABASE_URL`,
  '3D000': (_, database) => `${database} does not exist. Create it, or check the name in DATABASE_URL`,
  '3F000': undefinedObject,
  '42501': forbidden,
  '42703': undefinedObject,
  '42883': undefinedObject,
  '42P01': undefinedObject,
  '53300': noConnection,
  '55P03': ({ message }) => `${message}. A long transaction has locked the table. Try again when it has ended`,
  '57P01': (_, database) => `${database} is shutting down. Try again when it is running`,
  '57P03': (_, database) => `${database} is not ready. Try again in a moment`,
};

/** Errors of node-postgres that have no code. */
export const BY_TEXT: readonly (readonly [RegExp, Explain])[] = [
  [
    /timeout expired|connection timeout/i,
    (_, database) => `${database} does not answer. Check host, port and firewall`,
  ],
  [
    /Connection terminated|not queryable/,
    (_, database) => `${database} closed the connection. Read the server's log, then try again`,
  ],
  [/^The password file /, ({ message }) => message],
  [
    /channel binding/i,
    ({ message }, database) =>
      `${database}: ${message}. Write channel_binding=prefer, or ask the operator of the server`,
  ],
  [
    /client password must be/,
    (_, database) => `${database} asks for a password. Put the password into DATABASE_URL, or set PGPASSWORD`,
  ],
  [/does not support SSL/, (_, database) => `${database} does not support TLS. Write sslmode=disable in DATABASE_URL`],
];

/** A UserError if a person can fix it, otherwise the error itself. */
export function explainDatabaseError(thrown: unknown, databaseUrl: string): Error {
  if (!(thrown instanceof NoHost)) return explain(thrown, displayDatabase(databaseUrl));
  const sentences = thrown.failures.map(({ at, error }) =>
    error instanceof Error ? withoutPeriod(explain(error, at).message) : `${at} ${error}`,
  );
  return new UserError(`${sentences.join('. ')}.`, 1, { cause: thrown });
}

export function undefinedObject({ message }: CodedError, database: string): string {
  return /\browhook\b/.test(message)
    ? `${database} has no rowhook schema, or an older one (${message}). Run "rowhook migrate"`
    : `${message}. Check its name and schema, as in public.deals`;
}

export function badTime({ message }: CodedError): string {
  const remedy = /interval/.test(message) ? '24 hours' : '2025-10-17T19:30:00Z, or 2h for two hours ago';
  return `${message}. Write it as ${remedy}`;
}

/** Three limits have this code: of the server, of a role, of a database. */
export function noConnection({ message }: CodedError, database: string): string {
  const [, kind, name = ''] = /for (role|database) "(.*)"$/.exec(message) ?? [];
  if (kind === undefined) return `${database} has no free connection. Raise max_connections, or close idle clients`;
  const quoted = `"${name.replaceAll('"', '""')}"`;
  return `${database}: ${message}. Close idle clients, or let a DBA run: alter ${kind} ${quoted} connection limit -1`;
}

/** The row is not printed, because it may hold secrets. */
export function brokenCheck({ table = '', constraint = '' }: CodedError): string {
  return `${table} refuses the row: ${RULES[constraint] ?? `it violates the constraint "${constraint}"`}`;
}

export function inputIsWrong(code: string): boolean {
  return code.startsWith('22') || code === '23514';
}

export function withoutPeriod(sentence: string): string {
  return sentence.replace(/[.;]+$/, '');
}

/** `database` names the database that was asked. */
export function explain(thrown: unknown, database: string): Error {
  const error = (thrown instanceof Error ? thrown : new Error(String(thrown))) as CodedError;
  if (error instanceof UserError) return error;
  const code = error.code ?? '';
  const because = (sentence: string) => new UserError(`${sentence}.`, inputIsWrong(code) ? 2 : 1, { cause: error });

  // PL/pgSQL's RAISE: our own functions use the same form, with the remedy as the hint.
  if (error.routine === 'exec_stmt_raise' && !RULES[error.constraint ?? '']) {
    const sentences = [error.message, error.hint].filter((text) => text !== undefined && text !== '');
    return because(sentences.map((text) => withoutPeriod(text ?? '')).join('. '));
  }
  const sentence = BY_CODE[code] ?? BY_TEXT.find(([pattern]) => code === '' && pattern.test(error.message))?.[1];
  if (sentence) return because(sentence(error, database));
  const ofTls = explainTls(error, database);
  if (ofTls) return because(ofTls);
  // Any other SQLSTATE: PostgreSQL's own words. The hint often completes them.
  if (/^[0-9A-Z]{5}$/.test(code) && error.routine !== undefined) {
    const hint = error.hint ? `. ${withoutPeriod(error.hint)}` : '';
    return because(`${database}: ${error.message} (SQLSTATE ${code})${hint}`);
  }
  return error;
}

/** An object that is not rowhook's has another owner. The sentence names who can grant access. */
export function forbidden({ message, routine }: CodedError, database: string): string {
  // The database refuses the connection. No membership in a role of rowhook changes that.
  if (routine === 'CheckMyDatabase')
    return `${database} refuses this login: ${message}. Let its owner or a DBA grant the login CONNECT on it`;
  const remedy =
    isOurs(message) || !/^(must be owner of|permission denied for (table|schema))/.test(message)
      ? 'Connect as a member of rowhook_owner'
      : 'Connect as its owner, or as a member of that role';
  return `${database}: ${message}. ${remedy}`;
}

/** Whether a refused object is rowhook's, by PostgreSQL's words. */
export function isOurs(message: string): boolean {
  return /\b(rowhook|webhooks?_?\w*|_\w+|schema_version|doorbell|rows_without_tenant|function \w+)\b/.test(message);
}
