/**
 * Numbers of an event, as a template sees them. JSON.parse alone would round 40 digits and turn
 * 1e400 into Infinity. A number that JavaScript would print differently becomes an ExactNumber: it
 * prints as it was written, it compares as a number, and filters calculate with its nearest value.
 *
 * The class has no property of its own, so a template can read nothing from it.
 */

/** JSON.rawJSON is newer than the types. Its result is printed by JSON.stringify as it is. */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };

export class ExactNumber {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  toString(): string {
    return this.#text;
  }

  toJSON(): unknown {
    return rawJSON(this.#text);
  }

  valueOf(): number {
    return Number(this.#text);
  }

  // liquidjs compares objects that have these five methods with them.
  equals(other: unknown): boolean {
    return other instanceof ExactNumber ? other.#text === this.#text : this.valueOf() === other;
  }
  gt(other: unknown): boolean {
    return this.valueOf() > Number(other);
  }
  geq(other: unknown): boolean {
    return this.valueOf() >= Number(other);
  }
  lt(other: unknown): boolean {
    return this.valueOf() < Number(other);
  }
  leq(other: unknown): boolean {
    return this.valueOf() <= Number(other);
  }
}

/** Parses JSON and keeps every digit. */
export function parseExactly(json: string): unknown {
  return JSON.parse(json, (_: string, value: unknown, context?: { source?: string }) => {
    const source = context?.source;
    return typeof value === 'number' && source !== undefined && String(value) !== source
      ? new ExactNumber(source)
      : value;
  });
}
