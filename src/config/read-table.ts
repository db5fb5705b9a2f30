/** Reads a table of settings from flags and the environment. */
import { nearest } from '../shared/spelling.ts';
import { UserError } from '../shared/user-error.ts';
import { SERVICE_LINK_VALUE } from './parse.ts';

export interface Setting<K extends string, V> {
  readonly name: K;
  readonly env: string;
  readonly flag: string;
  readonly fallback: string;
  readonly parse: (text: string) => V;
  readonly help: string;
}

type Values = ReadonlyMap<string, unknown>;

/** Returns the values by name, or throws one UserError that names every problem. */
export function readTable(
  settings: readonly Setting<string, unknown>[],
  flags: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv,
  knownKeys: readonly string[],
  problemsOf: (values: Values) => string[] = () => [],
): Record<string, unknown> {
  const problems = unknownKeys(env, knownKeys);
  const values = new Map<string, unknown>();

  for (const setting of settings) {
    const flag = flags[setting.name];
    const fromFlag = flag === undefined ? '' : String(flag).trim();
    const fromEnv = env[setting.env]?.trim() ?? '';
    const text = fromFlag || fromEnv || setting.fallback;
    const subject = fromFlag ? setting.flag.split(' ')[0] : setting.env;
    try {
      values.set(setting.name, text === '' ? whenUnset(setting.name) : setting.parse(text));
    } catch (error) {
      // A URL may hold a password, so it is never printed.
      const quoted = /_(URL|SECRET)$/.test(setting.env) ? '' : `: "${text}"`;
      problems.push(`${subject}${quoted} ${(error as Error).message}`);
    }
  }
  problems.push(...problemsOf(values));

  if (problems.length === 1) throw new UserError(`${problems[0]}.`, 2);
  if (problems.length > 1)
    throw new UserError(`${problems.length} settings are wrong.\n  ${problems.join('.\n  ')}.`, 2);
  return Object.fromEntries(values);
}

/** The settings that are lists. */
const LISTS = ['allowCidrs', 'denyCidrs', 'frameAncestors', 'corsOrigins', 'egressIps'];

function whenUnset(name: string): undefined | string[] {
  if (name === 'databaseUrl') {
    throw new Error('is not set. Set it, or give --database-url, such as postgres://user:password@localhost:5432/app');
  }
  return LISTS.includes(name) ? [] : undefined;
}

/**
 * Kubernetes puts `ROWHOOK_SERVICE_HOST`, `ROWHOOK_PORT=tcp://…` and similar variables into every
 * pod next to a Service "rowhook".
 */
const SERVICE_LINK_KEY = /_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP|SCTP)(_|$)/;

function unknownKeys(env: NodeJS.ProcessEnv, known: readonly string[]): string[] {
  return Object.entries(env)
    .filter(([key]) => key.startsWith('ROWHOOK_') && !key.startsWith('ROWHOOK_TEST_') && !known.includes(key))
    .filter(([key, value]) => !SERVICE_LINK_KEY.test(key) && !SERVICE_LINK_VALUE.test(value ?? ''))
    .map(([key]) => `${key} is not a rowhook setting. Remove it, or use ${nearest(key, known)}`);
}
