/** A finding says what is wrong, why it matters, and what fixes it. */

/** An error stops events or delays them. A warning does not do so yet. */
export interface Finding {
  kind: 'error' | 'warning';
  what: string;
  why: string;
  /** The statement or command that fixes it. */
  fix: string;
}
