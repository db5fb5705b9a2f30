/**
 * A JSON number as it was written. bigint, numeric and 1e400 do not survive a double, and a filter that compares money must
 * not be wrong in the last digit. A decimal is its significant digits and the place of the first one, so 1e999999999 takes no
 * more memory than it takes to write, and comparing costs no more than reading.
 */

/** Exponents beyond this are cut to it: they stay ordered against every number that anybody writes down in full. */
const exponentMax = 1e15;
const pattern = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

export class Decimal {
  readonly source: string;
  readonly sign: -1 | 0 | 1;
  /** Without leading and trailing zeros; empty for zero. */
  readonly digits: string;
  /** The value is 0.digits times ten to this power. */
  readonly exponent: number;

  /** `source` is a number as JSON spells it. */
  constructor(source: string) {
    this.source = source;
    const [, minus, whole = '', fraction = '', power = '0'] = pattern.exec(source) ?? [];
    const all = whole + fraction;
    // Loops, because /0+$/ takes quadratic time on a long run of zeros in the middle.
    let start = 0;
    let end = all.length;
    while (all[start] === '0') start++;
    while (end > start && all[end - 1] === '0') end--;
    this.digits = all.slice(start, end);
    this.sign = this.digits === '' ? 0 : minus ? -1 : 1;
    const shift = Math.max(-exponentMax, Math.min(exponentMax, Number(power)));
    this.exponent = this.sign === 0 ? 0 : whole.length - start + shift;
  }

  /** The same for equal numbers, however they were written: 1, 1.0 and 10e-1. */
  get key(): string {
    return `${this.sign}|${this.digits}|${this.exponent}`;
  }

  /** How many digits it has when written without an exponent. */
  get plainDigits(): number {
    return Math.max(this.exponent, 1) + Math.max(this.digits.length - this.exponent, 0);
  }

  /** Below, equal or above zero, as for `Array.prototype.sort`. */
  compare(other: Decimal): number {
    if (this.sign !== other.sign) return this.sign - other.sign;
    if (this.exponent !== other.exponent) return this.sign * Math.sign(this.exponent - other.exponent);
    if (this.digits === other.digits) return 0;
    // Both begin at the same place, so digits compare as text does, and the shorter one continues with zeros.
    return this.digits < other.digits ? -this.sign : this.sign;
  }
}
