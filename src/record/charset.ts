/**
 * Replaces characters that the database's encoding cannot hold. Receivers answer in any language,
 * and rowhook marks shortened texts with '…'. In a database that is not UTF8, one character that
 * its encoding lacks would keep a whole batch from being recorded.
 */
import type pg from 'pg';
import type { Attempt } from '../model.ts';

/** These encodings hold every character. SQL_ASCII stores any bytes. */
const WHOLE: ReadonlySet<string> = new Set(['UTF8', 'SQL_ASCII']);

/** Rowhook's own characters that have an ASCII equivalent. */
const INSTEAD: Readonly<Record<string, string>> = { '…': '...', '•': '*' };

const NOT_ASCII = /[^\0-\x7f]/gu;

/** Limit on the characters that are remembered. */
const KNOWN_MAX = 65_536;

export class Charset {
  readonly #pool: pg.Pool;
  #isWhole: boolean | undefined;
  readonly #known = new Map<string, boolean>();

  constructor(pool: pg.Pool) {
    this.#pool = pool;
  }

  /**
   * Returns the attempts with every missing character replaced. If nothing is missing, returns
   * `attempts`.
   */
  async fit(attempts: readonly Attempt[]): Promise<readonly Attempt[]> {
    if (await this.#holdsAll()) return attempts;
    const texts = attempts.map(({ outcome, requestUrl, requestHeaders }) =>
      JSON.stringify({ outcome, requestUrl, requestHeaders }),
    );
    await this.#learn(new Set(texts.flatMap((text) => text.match(NOT_ASCII) ?? [])));
    return attempts.map((attempt, i) => {
      const text = texts[i] as string;
      const fitting = text.replace(NOT_ASCII, (c) => (this.#known.get(c) ? c : (INSTEAD[c] ?? '?')));
      return fitting === text ? attempt : { ...attempt, ...JSON.parse(fitting) };
    });
  }

  async #holdsAll(): Promise<boolean> {
    if (this.#isWhole === undefined) {
      const { rows } = await this.#pool.query<{ encoding: string }>('select getdatabaseencoding() as encoding');
      this.#isWhole = WHOLE.has(rows[0]?.encoding ?? '');
    }
    return this.#isWhole;
  }

  async #learn(characters: ReadonlySet<string>): Promise<void> {
    if (this.#known.size > KNOWN_MAX) this.#known.clear();
    const unknown = [...characters].filter((c) => !this.#known.has(c));
    if (unknown.length === 0) return;
    const { rows } = await this.#pool.query<{ held: boolean[] }>('select rowhook._holds($1::bytea[]) as held', [
      unknown.map((c) => Buffer.from(c)),
    ]);
    unknown.forEach((c, i) => void this.#known.set(c, rows[0]?.held[i] === true));
  }
}
