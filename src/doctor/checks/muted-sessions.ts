/** Finds settings and subscriptions that keep triggers from firing. */

import { bySetting, bySubscription } from '../../capture/muted-sessions.ts';
import { type CheckResult, type Examination, fine } from '../finding.ts';

export async function muted({ client }: Examination): Promise<CheckResult[]> {
  const results = [...(await bySetting(client)), ...(await bySubscription(client))];
  return results.length > 0 ? results : [fine('no setting and no subscription keeps triggers from firing')];
}
