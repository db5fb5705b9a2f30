/**
 * Poison in what is shared: a value of one tenant makes a statement fail that serves all of them. To do the same again would fail
 * again, for everybody. So the statement is done by halves until the culprit is alone; what becomes of it is the caller's to say, and
 * everybody else goes on.
 */

/** A value or a constraint: it fails again, whenever it is tried. */
const OF_A_VALUE = /^2[23]/;
/** A damaged row, a limit of the server, a time without an end: a value's fault if it comes twice. */
const OF_A_VALUE_IF_TWICE = /^(0A|XX|54)/;
/** Of class 0A too: the table has changed under a prepared statement, which a new connection mends. */
const OF_A_STATEMENT = 'RevalidateCachedQuery';

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? '';
}

/** The statement fails for what is in it. */
export function isOfValue(error: unknown): boolean {
  return OF_A_VALUE.test(codeOf(error));
}

/** The server said no and goes on: nothing was written. Anything else may have been, and the connection is lost. */
export function isRefusal(error: unknown): boolean {
  const code = codeOf(error);
  // connection exceptions, shutdowns, and the timeouts that end a session
  return /^[0-9A-Z]{5}$/.test(code) && !/^(08|57P|25P0[34])/.test(code);
}

/** It may fail for what is in it: isolate() finds out. */
export function mayBeOfValue(error: unknown): boolean {
  return isOfValue(error) || isOfValueIfTwice(error);
}

function isOfValueIfTwice(error: unknown): boolean {
  return OF_A_VALUE_IF_TWICE.test(codeOf(error)) && (error as { routine?: string }).routine !== OF_A_STATEMENT;
}

/**
 * Does the work for all items; if a value among them makes it fail, by halves, each half by itself. `refused` says what becomes of
 * an item that fails alone. The work changes nothing where it fails. Any other error is thrown.
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

/** Why the database refused, as part of a sentence. Its details are left out: they hold values. */
export function reasonOf(error: Error): string {
  return `${error.message} (SQLSTATE ${codeOf(error)})`;
}

/** What can be read of one row, column by column; a column that cannot is null, and `problem` says why. */
export interface Readable {
  values: Map<string, string | null>;
  problem: string | null;
}

/** `columns`: each with the expression that reads it; `read` gives an expression's value as text. */
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

/** What `all` reads. Where it fails for a value, what is known by each key is read by itself, and left out if it cannot be. */
export function leavingOut<Key, Row>(
  all: () => Promise<Row[]>,
  keys: () => Promise<Key[]>,
  some: (keys: readonly Key[]) => Promise<Row[]>,
): Promise<Row[]> {
  return isolate([null], all, async () => isolate(await keys(), some, async () => []));
}
