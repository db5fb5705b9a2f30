/** What is wrong, why it matters, and what puts it right. */

/** Something that is wrong. An error stops events, or keeps them back; a warning does not, yet. */
export interface Finding {
  kind: 'error' | 'warning';
  what: string;
  why: string;
  /** The statement, or the command, that mends it. */
  mend: string;
}
