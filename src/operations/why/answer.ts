/** What `whyOf` answers: values only, printed by cli/inspect/why.ts. */
import type { Explanation } from '../explain.ts';

/** One thing on a change's way from the table to the receivers. */
export interface Step {
  /** stops: no event gets further. note: it may be the reason. fine: it is as it should be. */
  kind: 'stops' | 'note' | 'fine';
  what: string;
  /** The statement, or the command, that mends it. */
  mend?: string;
}

/** One webhook and one event. */
export interface Sending extends Explanation {
  webhook_id: string;
  webhook_name: string;
  mend?: string;
}

/** One captured change of the row. */
export interface CapturedChange {
  outbox_id: string;
  at: Date;
  tenant_id: string;
  event_types: string[];
  /** Why the change is thin; null: it is whole. */
  truncated: string | null;
  /** Each webhook of the tenant, for each event. */
  sendings: Sending[];
}

export interface Answer {
  table: string;
  key: Record<string, string>;
  /** unseen: this role may not read it. */
  row: 'found' | 'gone' | 'unseen';
  tenant_id: string | null;
  steps: Step[];
  /** The newest first. */
  changes: CapturedChange[];
  /** The newest change was delivered to each webhook that it is sent to, and to one at least. */
  arrived: boolean;
}
