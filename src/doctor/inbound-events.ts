/**
 * Finds inbound events that no worker takes, and those that failed. A day of events is dropped after
 * 90 days, whether somebody has processed them or not.
 */
import { readInboundState } from '../observe/inbound-state.ts';
import { printable } from '../shared/terminal.ts';
import { ageText } from '../shared/text.ts';
import { type CheckResult, type Examination, fine } from './finding.ts';

export async function inbound({ client, limits }: Examination): Promise<CheckResult[]> {
  const state = await readInboundState(client);
  const { pending, processing, leaseEnded, failed24h, oldestSeconds } = state;
  const results: CheckResult[] = [];
  if (oldestSeconds !== null && oldestSeconds > limits.inboundSeconds) {
    const claims = state.oldestAttempts === 0 ? 'no worker has claimed it' : `claimed ${state.oldestAttempts} times`;
    const of = `${state.oldestEventName} of ${state.oldestTenantId}`;
    results.push({
      kind: 'warning',
      what: printable(`an inbound event, ${of}, has waited for ${ageText(oldestSeconds)}: ${claims}`),
      why:
        `${pending + leaseEnded} events wait, and ${processing} are being processed. ` +
        'A day of events is dropped after 90 days, processed or not.',
      fix: 'rowhook inbound events --status received   # then start a worker that claims events of these names',
    });
  }
  if (failed24h > 0) {
    results.push({
      kind: 'warning',
      what: `${failed24h} inbound events of the last 24 hours failed`,
      why: 'Their workers have given them up, or did so without an answer in 10 leases. Nobody claims them again.',
      fix: 'rowhook inbound events --status failed   # with the errors; then, for each: rowhook inbound retry <id>',
    });
  }
  return results.length > 0 ? results : [fine(`${pending} inbound events wait for a worker, none for long`)];
}
