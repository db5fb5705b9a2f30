/**
 * An error for a person at the terminal: a sentence with subject, verdict and remedy. It never
 * shows a stack or a password. Any other error is a bug of ours and keeps its stack.
 */

/** Exit code 1: the command failed. Exit code 2: the command was used wrongly. */
export class UserError extends Error {
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 1, options?: ErrorOptions) {
    super(message, options);
    this.name = 'UserError';
    this.exitCode = exitCode;
  }
}

/** What was asked for does not exist, or not for whoever asks. */
export class NotFound extends UserError {
  /** What there is not, for people who have no command line: "webhook". */
  readonly what: string;

  constructor(message: string, what: string) {
    super(message);
    this.what = what;
  }
}
