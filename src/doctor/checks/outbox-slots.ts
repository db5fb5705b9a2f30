/** Finds outbox slots that were due to be emptied, and who holds them. */
import { readSlots } from '../../capture/outbox-slots.ts';
import { pinnedSlots } from '../../capture/pinned-slots.ts';
import { ageText } from '../../shared/text.ts';
import { type CheckResult, type Examination, fine } from '../finding.ts';

export async function ring({ client, limits }: Examination): Promise<CheckResult[]> {
  const pinned = await pinnedSlots(client, limits.slotSeconds);
  if (pinned.length > 0) return pinned;
  const ages = (await readSlots(client)).flatMap(({ oldestSeconds }) => oldestSeconds ?? []);
  const oldest = ages.length === 0 ? 'the outbox is empty' : `the oldest row is ${ageText(Math.max(...ages))} old`;
  return [fine(`no outbox slot is pinned, and ${oldest}`)];
}
