/**
 * Decides by the environment's name whether a daemon may deliver from a database. `start` and
 * `doctor` both use this function.
 */
export interface EnvironmentProblem {
  what: string;
  why: string;
  /**
   * A sentence and no command: pasted in a copy, a daemon with the name of the original would deliver
   * to its customers. `adopt` is printed without --undelivered, because a pasted line must not
   * discard events: without that flag it only asks for it.
   */
  fix: string;
  /** Verdict and remedy on one line, for the person who started a daemon. */
  sentence: string;
}

/**
 * Pure. `recorded` is the name in the database, `given` is ROWHOOK_ENVIRONMENT. Null: a daemon may
 * start.
 */
export function environmentProblem(recorded: string | null, given: string | undefined): EnvironmentProblem | null {
  if (recorded === null || recorded === given) return null;
  // At most 63 characters.
  const name = given ?? `${recorded.slice(0, 58)}-copy`;
  const adopt = `rowhook adopt --environment ${name}`;
  const setting = given === undefined ? 'not set' : `"${given}"`;
  const what = `This database belongs to the environment "${recorded}", and ROWHOOK_ENVIRONMENT is ${setting}`;
  return {
    what,
    why: 'A daemon with this setting refuses to start. A clone must not deliver to the customers of the original.',
    fix: `if it is not a copy, set ROWHOOK_ENVIRONMENT=${recorded}. Only in a clone that may deliver: ${adopt}`,
    sentence:
      `${what}. Nothing is delivered. If it is not a copy, set ROWHOOK_ENVIRONMENT=${recorded}. ` +
      `Only in a clone that may deliver: ${adopt} (it asks what to do with undelivered events).`,
  };
}
