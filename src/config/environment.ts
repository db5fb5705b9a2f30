/** Whether a daemon may deliver from a database, by the environment's name. `start` and `doctor` ask the same function. */
export interface EnvironmentProblem {
  what: string;
  why: string;
  /** The setting comes first; `adopt` is for clones alone, since it can discard what is undelivered. */
  mend: string;
  /** All of it on one line, for whoever started a daemon. */
  sentence: string;
}

/** Pure. `recorded` is what the database holds, `given` is ROWHOOK_ENVIRONMENT. Null: a daemon may start. */
export function environmentProblem(recorded: string | null, given: string | undefined): EnvironmentProblem | null {
  if (recorded === null || recorded === given) return null;
  // 63 characters at most
  const adopt = `rowhook adopt --environment ${given ?? `${recorded.slice(0, 58)}-copy`} --undelivered discard`;
  const what = `This database belongs to the environment "${recorded}", and ROWHOOK_ENVIRONMENT is ${given === undefined ? 'not set' : `"${given}"`}`;
  return {
    what,
    why: 'A daemon with this setting refuses to start: a clone must not deliver to the customers of the original.',
    mend: `ROWHOOK_ENVIRONMENT=${recorded} rowhook start   # only in a clone that may deliver: ${adopt}`,
    sentence: `${what}: nothing is delivered. Set ROWHOOK_ENVIRONMENT=${recorded}. Only in a clone that may deliver: ${adopt}.`,
  };
}
