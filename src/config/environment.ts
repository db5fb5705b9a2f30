/** Whether a daemon may deliver from a database, by the environment's name. `start` and `doctor` ask the same function. */
export interface EnvironmentProblem {
  what: string;
  why: string;
  /** The setting comes first; `adopt` is for clones alone, since it can discard what is undelivered. */
  mend: string;
}

/** Pure. `recorded` is what the database holds, `given` is ROWHOOK_ENVIRONMENT. Null: a daemon may start. */
export function environmentProblem(recorded: string | null, given: string | undefined): EnvironmentProblem | null {
  if (recorded === null || recorded === given) return null;
  return {
    what: `This database belongs to the environment "${recorded}", ROWHOOK_ENVIRONMENT is ${given === undefined ? 'not set' : `"${given}"`}`,
    why: 'A daemon with this setting refuses to start: a clone must not deliver to the customers of the original.',
    mend: `ROWHOOK_ENVIRONMENT=${recorded} rowhook start   # only in a clone that may deliver: rowhook adopt --environment ${given ?? 'staging'} --undelivered discard`,
  };
}
