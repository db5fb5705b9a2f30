/**
 * What a person at the terminal reads: a clear sentence with the remedy (subject, verdict, remedy), never a stack, never a
 * password. Anything that is not a UserError is a bug of ours and keeps its stack.
 */

/** Exit code 1: it failed. Exit code 2: it was asked for wrongly. */
export class UserError extends Error {
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 1, options?: ErrorOptions) {
    super(message, options);
    this.name = 'UserError';
    this.exitCode = exitCode;
  }
}
