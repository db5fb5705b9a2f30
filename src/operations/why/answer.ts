/** The answer of `whyOf`: values only, printed by cli/inspect/why.ts. */
import type { Explanation } from '../webhooks/explain.ts';

/** One step of a change's way from the table to the receivers. */
export interface Step {
  /** stops: no event passes. note: a possible reason. fine: as it should be. */
  kind: 'stops' | 'note' | 'fine';
  what: string;
  /** The statement or command that fixes it. */
  fix?: string;
}

/** One webhook and one event. */
export interface Sending extends Explanation {
  webhook_id: string;
  webhook_name: string;
  fix?: string;
}

/** One captured change of the row. */
export interface CapturedChange {
  outbox_id: string;
  at: Date;
  tenant_id: string;
  event_types: string[];
  /** Why the change is thin. Null: it is complete. */
  truncated: string | null;
  /** One entry for each webhook of the tenant and each event. */
  sendings: Sending[];
}

export interface Answer {
  table: string;
  key: Record<string, string>;
  /** unseen: this role may not read the row. */
  row: 'found' | 'gone' | 'unseen';
  tenant_id: string | null;
  steps: Step[];
  /** The newest first. */
  changes: CapturedChange[];
  /** True if at least one webhook gets the newest change, and each such webhook has got it. */
  arrived: boolean;
}
