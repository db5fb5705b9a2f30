/**
 * A JSON number as it was written. A double cannot hold every bigint, numeric or 1e400, and a
 * filter that compares money must be exact to the last digit. A decimal holds the significant
 * digits and the place of the first one. So 1e999999999 takes no more memory than its text, and
 * comparing costs no more than reading.
 */

/**
 * Larger exponents are reduced to this limit. They still compare correctly with every number that
 * is written out in full.
 */
const exponentMax = 1e15;
const pattern = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

export class Decimal {
  readonly source: string;
  readonly sign: -1 | 0 | 1;
  /** Without leading and trailing zeros. Empty for zero. */
  readonly digits: string;
  /** The value is 0.digits times ten to this power. */
  readonly exponent: number;

  /** `source` is a number in JSON's spelling. */
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

  /**
   * Equal numbers have equal keys, however they were written: 1, 1.0 and 10e-1. The key of an
   * integer of up to 15 digits is the integer, so most numbers need no Decimal to find their key.
   */
  get key(): string {
    if (this.sign === 0) return '0';
    const isInteger = this.digits.length <= this.exponent;
    if (isInteger && this.exponent <= 15) return (this.sign < 0 ? '-' : '') + this.digits.padEnd(this.exponent, '0');
    return `${this.sign}|${this.digits}|${this.exponent}`;
  }

  /** The number of digits when written without an exponent. */
  get plainDigits(): number {
    return Math.max(this.exponent, 1) + Math.max(this.digits.length - this.exponent, 0);
  }

  /** Below, equal to or above zero, as for `Array.prototype.sort`. */
  compare(other: Decimal): number {
    if (this.sign !== other.sign) return this.sign - other.sign;
    if (this.exponent !== other.exponent) return this.sign * Math.sign(this.exponent - other.exponent);
    if (this.digits === other.digits) return 0;
    // Both begin at the same place, so their digits compare as text. The shorter text continues
    // with zeros.
    return this.digits < other.digits ? -this.sign : this.sign;
  }
}
