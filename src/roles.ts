/**
 * Collaborators by their role. dispatch/ knows the other stages by these only; daemon/pipeline.ts
 * brings them together.
 */
import type { Entry, Request, RowHead } from './model.ts';
import type { Outcome } from './outcome.ts';

/** The role of DELIVER: deliver/sender.ts, and observe/otlp.ts in front of it where traces are wanted. */
export interface SendsRequests {
  /** One attempt. Never rejects: a failing endpoint is an outcome. */
  send(request: Request): Promise<Outcome>;
}

/** The role of RECORD: record/recorder.ts. */
export interface RecordsEntries {
  /** The entry's `settle` is called when it has committed. */
  add(entry: Entry): void;
}

/** Who hears what RECORD has committed: dispatch/dispatcher.ts. */
export interface HearsCommits {
  committed(entries: readonly Entry[], heads: readonly RowHead[]): void;
}

/** The database's clock, as far as a lease lets us act by it: daemon/lease.ts. */
export interface LeaseClock {
  /** Milliseconds since 1970. */
  now(): number;
  /** False once the lease may have run out: nothing may be started then. */
  readonly isValid: boolean;
}
