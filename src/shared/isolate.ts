/**
 * Isolates a value of one tenant that makes a shared statement fail. Repeating the statement would
 * fail again, for everybody. So its items are halved until the failing item is alone. The caller
 * decides what happens to that item, and all other items succeed.
 */

/** SQLSTATEs of a value or a constraint. The statement fails again whenever it is repeated. */
const OF_A_VALUE = /^2[23]/;
/**
 * A damaged row, a limit of the server, or an infinite time. A value is the cause if the error
 * comes twice.
 */
const OF_A_VALUE_IF_TWICE = /^(0A|XX|54)/;
/**
 * This error also has class 0A. The table has changed under a prepared statement, and a new
 * connection fixes that.
 */
const OF_A_STATEMENT = 'RevalidateCachedQuery';

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? '';
}

/** True if the statement fails because of its values. */
export function isOfValue(error: unknown): boolean {
  return OF_A_VALUE.test(codeOf(error));
}

/**
 * True if the server refused and the connection still works, so nothing was written. After any
 * other error, something may have been written and the connection is lost.
 */
export function isRefusal(error: unknown): boolean {
  const code = codeOf(error);
  // Connection exceptions, shutdowns, the timeouts that end a session, and EPIPE of a socket.
  return /^[0-9A-Z]{5}$/.test(code) && !/^(08|57P|25P0[34]|EPIPE)/.test(code);
}

/** True if the values may be the cause. isolate() finds out. */
export function mayBeOfValue(error: unknown): boolean {
  return isOfValue(error) || isOfValueIfTwice(error);
}

/** True if a table has changed under a prepared statement. The connection is not to be used again. */
export function isOfStatement(error: unknown): boolean {
  return codeOf(error) === '0A000' && (error as { routine?: string }).routine === OF_A_STATEMENT;
}

function isOfValueIfTwice(error: unknown): boolean {
  return OF_A_VALUE_IF_TWICE.test(codeOf(error)) && !isOfStatement(error);
}

/**
 * Does the work for all items. If a value makes the work fail, each half is tried by itself.
 * `refused` decides what happens to an item that fails alone. Failing work must change nothing. Any
 * other error is thrown.
 */
export async function isolate<T, R>(
  items: readonly T[],
  work: (items: readonly T[]) => Promise<R[]>,
  refused: (item: T, error: Error) => Promise<R[]>,
): Promise<R[]> {
  if (items.length === 0) return [];
  try {
    return await twice(() => work(items));
  } catch (error) {
    if (!mayBeOfValue(error)) throw error;
    const middle = items.length >> 1;
    if (middle === 0) return refused(items[0] as T, error as Error);
    const halves = [items.slice(0, middle), items.slice(middle)];
    const results: R[] = [];
    for (const half of halves) results.push(...(await isolate(half, work, refused)));
    return results;
  }
}

async function twice<R>(work: () => Promise<R>): Promise<R> {
  try {
    return await work();
  } catch (error) {
    if (!isOfValueIfTwice(error)) throw error;
    return work();
  }
}

/**
 * Why the database refused, as part of a sentence. The error's details are omitted, because they
 * hold values.
 */
export function reasonOf(error: Error): string {
  return `${error.message} (SQLSTATE ${codeOf(error)})`;
}

/**
 * The values of one row, read column by column. A column that cannot be read is null, and `problem`
 * says why.
 */
export interface Readable {
  values: Map<string, string | null>;
  problem: string | null;
}

/**
 * `columns` are names with the expressions that read them. `read` returns an expression's value as
 * text.
 */
export async function readColumns(
  columns: readonly (readonly [column: string, expression: string])[],
  read: (expression: string) => Promise<string | null>,
): Promise<Readable> {
  const values = new Map<string, string | null>();
  let problem: string | null = null;
  for (const [column, expression] of columns) {
    const [value] = await isolate(
      [expression],
      async () => [await read(expression)],
      async (_, error) => {
        problem ??= `${column} cannot be read: ${reasonOf(error)}`;
        return [null];
      },
    );
    values.set(column, value ?? null);
  }
  return { values, problem };
}

/**
 * Returns what `all` reads. If a value makes `all` fail, each key is read by itself, and keys that
 * cannot be read are omitted.
 */
export function leavingOut<Key, Row>(
  all: () => Promise<Row[]>,
  keys: () => Promise<Key[]>,
  some: (keys: readonly Key[]) => Promise<Row[]>,
): Promise<Row[]> {
  return isolate([null], all, async () => isolate(await keys(), some, async () => []));
}
