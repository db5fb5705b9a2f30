/** Finds settings and subscriptions that keep triggers from firing. */

import { bySetting, bySubscription } from '../../capture/muted-sessions.ts';
import { type Examination, fine, type Remark } from '../finding.ts';

export async function muted({ client }: Examination): Promise<Remark[]> {
  const remarks = [...(await bySetting(client)), ...(await bySubscription(client))];
  return remarks.length > 0 ? remarks : [fine('no setting and no subscription keeps triggers from firing')];
}
