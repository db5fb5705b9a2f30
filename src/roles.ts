/**
 * Collaborators by their role. dispatch/ knows the other stages only by these roles.
 * daemon/pipeline.ts connects them.
 */
import type { Delivery, Entry, Request, RowHead, Webhook } from './model.ts';
import type { Outcome } from './outcome.ts';

/** The role of DELIVER: deliver/sender.ts. With tracing on, observe/otlp.ts is in front of it. */
export interface SendsRequests {
  /** Makes one attempt. Never rejects, because a failing endpoint is an outcome. */
  send(request: Request): Promise<Outcome>;
}

/** Makes bodies with the templates of webhooks: daemon/rendered-bodies.ts. */
export interface RendersBodies {
  /**
   * Sets `rendered` of the delivery. Resolves to why its template makes no body, or to null. It may
   * also set a format that needs no template.
   */
  render(delivery: Delivery, webhook: Webhook): Promise<string | null>;
}

/** The role of RECORD: record/recorder.ts. */
export interface RecordsEntries {
  /** The entry's `settle` is called when it has committed. */
  add(entry: Entry): void;
}

/** Receives the entries that RECORD has committed: dispatch/dispatcher.ts. */
export interface HearsCommits {
  committed(entries: readonly Entry[], heads: readonly RowHead[]): void;
}

/** The database's clock, and whether the lease is valid: daemon/lease.ts. */
export interface LeaseClock {
  /** Milliseconds since 1970. */
  now(): number;
  /** False once the lease may have run out. Nothing may start then. */
  readonly isValid: boolean;
}
