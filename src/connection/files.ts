/**
 * The files that libpq reads besides the connection string: their places, the service file, and the
 * password file.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { checkParameter } from './parameters.ts';
import type { Given } from './parse.ts';

const isWindows = process.platform === 'win32';

/** A file of this user: in the home directory, on Windows in %APPDATA%\postgresql. */
export function userFile(name: string, windowsName = name): string {
  return isWindows ? join(process.env.APPDATA ?? '.', 'postgresql', windowsName) : join(home(), name);
}

/** A container may run with a user id that has no name and no home. */
function home(): string {
  try {
    return homedir();
  } catch {
    return '/nonexistent';
  }
}

/**
 * Reads the user's service file, or else the machine's. libpq has the place of the machine's file
 * compiled in; here PGSYSCONFDIR names it.
 */
export function readService(service: string, file: string | undefined, env: NodeJS.ProcessEnv): Given {
  const machines = env.PGSYSCONFDIR
    ? [join(env.PGSYSCONFDIR, 'pg_service.conf')]
    : ['/etc/postgresql-common/pg_service.conf'];
  const files = [file ?? userFile('.pg_service.conf'), ...machines].filter((name) => name === file || existsSync(name));
  for (const name of files) {
    const given = serviceOf(readText(name), service, name);
    if (given) return given;
  }
  const looked = files.length > 0 ? files.join(' and ') : userFile('.pg_service.conf');
  throw new Error(`names the service "${service}", which is not in ${looked}. Add it there, or set PGSERVICEFILE`);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(`names the service file ${file}, which cannot be read (${code}). Let this user read it`);
  }
}

function serviceOf(text: string, service: string, file: string): Given | undefined {
  let given: Given | undefined;
  for (const [index, line] of text
    .split(/\r?\n/)
    .map((raw) => raw.trim())
    .entries()) {
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('[')) {
      if (given) return given;
      if (line === `[${service}]`) given = new Map();
    } else if (given) {
      const at = `${file}, line ${index + 1}`;
      const [, name = '', value = ''] = /^([^=]*)=(.*)$/.exec(line) ?? [];
      if (name === '') throw new Error(`names the service "${service}", and ${at} is not of the form name=value`);
      if (name === 'service')
        throw new Error(`names the service "${service}", and ${at} names another service. Remove that line`);
      checkParameter(name, value, at);
      if (!given.has(name)) given.set(name, value); // libpq takes the first of two
    }
  }
  return given;
}

export interface PasswordFor {
  host: string;
  port: number;
  database: string;
  user: string;
}

/**
 * The password of the first matching line: `host:port:database:user:password`, where * matches
 * everything. As in libpq, a colon ends the password unless a backslash precedes it.
 */
export function passwordOf(file: string | undefined, wanted: PasswordFor): string | undefined {
  const path = file ?? userFile('.pgpass', 'pgpass.conf');
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat?.isFile()) return undefined;
  if (!isWindows && stat.mode & 0o077) {
    throw new Error(
      `The password file ${path} can be read by other users, so it is not used. Run "chmod 0600 ${path}"`,
    );
  }
  const host = wanted.host.startsWith('/') ? [wanted.host, 'localhost'] : [wanted.host];
  const fields = [host, [String(wanted.port)], [wanted.database], [wanted.user]];
  const fitting = new RegExp(
    `^${fields.map((values) => `(?:\\*|${values.map(escapable).join('|')}):`).join('')}((?:\\\\.|[^:])+)`,
    's',
  );
  for (const line of readFileSync(path, 'utf8').split(/\r?\n/)) {
    const password = line.startsWith('#') ? undefined : fitting.exec(line)?.[1];
    if (password) return password.replace(/\\(.)/gs, '$1');
  }
  return undefined;
}

/**
 * A pattern for a field of the password file. In the file a backslash is written with a backslash
 * before it. For any other character that is optional, so ::1 needs none.
 */
function escapable(text: string): string {
  return [...text].map((char) => (char === '\\' ? '\\\\\\\\' : `\\\\?${char.replace(/\W/, '\\$&')}`)).join('');
}
