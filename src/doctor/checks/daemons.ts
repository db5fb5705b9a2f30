/** Checks that a daemon delivers, belongs to this database, and makes progress. */
import { setTimeout as sleep } from 'node:timers/promises';
import { environmentProblem } from '../../config/environment.ts';
import { type LaneLag, readLag } from '../../observe/lane-lag.ts';
import { shellWord } from '../../shared/shell-quote.ts';
import { printable } from '../../shared/terminal.ts';
import { ageText, events, startRemedy } from '../../shared/text.ts';
import { type CheckResult, type Examination, fine } from '../finding.ts';

const LOOK_AGAIN_MS = 250;

/** Limit on the tenants that lag and are named. `rowhook status` has their number. */
const LAGGING_LISTED_MAX = 5;

export async function daemons(examination: Examination): Promise<CheckResult[]> {
  const lanes = await settledLanes(examination);
  const owners = [...new Set(lanes.flatMap(({ owner }) => owner ?? []))];
  const free = lanes.filter(({ owner }) => owner === null);
  const recorded = await recordedEnvironment(examination);
  const results: CheckResult[] = [];
  if (free.length > 0 || owners.length === 0) {
    results.push({
      kind: 'error',
      what: owners.length === 0 ? 'no daemon is running' : `no daemon owns ${free.length} of ${lanes.length} lanes`,
      why:
        'Events are captured and stored. They are sent when a daemon is running. If its process runs, its log says ' +
        'why it delivers nothing: correct that, and restart it. Otherwise start it.',
      fix: startRemedy(recorded),
    });
  } else {
    results.push(fine(`running: ${owners.join(', ')}`));
  }
  const { unreadSeconds } = examination.limits;
  const stuck = lanes.filter(
    ({ owner, oldestSeconds, positionAgeSeconds }) =>
      owner !== null && (oldestSeconds ?? 0) > unreadSeconds && positionAgeSeconds > unreadSeconds,
  );
  if (stuck.length > 0) {
    const oldest = Math.max(...stuck.map(({ oldestSeconds }) => oldestSeconds ?? 0));
    results.push({
      kind: 'error',
      what: `lanes ${stuck.map(({ lane }) => lane).join(', ')} do not move: an event has waited for ${ageText(oldest)}`,
      why: 'Their daemon reads nothing, and no other daemon may read them while it holds them.',
      fix: `look into the log of ${owners.join(', ')}, then restart it. Another daemon takes over within 10 s`,
    });
  }
  return [
    ...results,
    ...laggingRemarks(examination, lanes),
    environmentRemark(examination, recorded, owners.length > 0),
  ];
}

/** Warns of the tenants that have lagged for long. */
function laggingRemarks({ limits }: Examination, lanes: readonly LaneLag[]): CheckResult[] {
  const lagging = lanes
    .flatMap((lane) => lane.lagging)
    .filter(({ oldestSeconds }) => (oldestSeconds ?? 0) > limits.laggingSeconds)
    .sort((a, b) => (b.oldestSeconds ?? 0) - (a.oldestSeconds ?? 0));
  return lagging.slice(0, LAGGING_LISTED_MAX).map(({ tenantId, events: behind, oldestSeconds }) => ({
    kind: 'warning',
    what: printable(
      `tenant ${tenantId} lags by ${events(behind)}, and the oldest is ${ageText(oldestSeconds ?? 0)} old`,
    ),
    why: 'Its events come faster than its receivers take them. Other tenants do not wait for it.',
    fix: printable(
      `rowhook logs --tenant ${shellWord(tenantId)}   # its receivers must answer faster, or max_in_flight of its webhooks must be raised`,
    ),
  }));
}

/** A daemon that starts or stops hands lanes over, and the handover takes a moment. */
async function settledLanes({ client, limits }: Examination): Promise<LaneLag[]> {
  const until = performance.now() + limits.handoverMs;
  for (;;) {
    const lanes = await readLag(client);
    if (lanes.every(({ owner }) => owner !== null) || performance.now() > until) return lanes;
    const { rowCount } = await client.query(
      'select from rowhook.webhook_daemons where lease_expires_at > clock_timestamp()',
    );
    if (!rowCount) return lanes;
    await sleep(LOOK_AGAIN_MS);
  }
}

async function recordedEnvironment({ client }: Examination): Promise<string | null> {
  const { rows } = await client.query<{ environment: string | null }>(
    'select environment from rowhook.webhook_installation',
  );
  return rows[0]?.environment ?? null;
}

/** While a daemon delivers, the name is wrong in this shell only, and no event waits. */
function environmentRemark({ environment }: Examination, recorded: string | null, isDelivering: boolean): CheckResult {
  const problem = environmentProblem(recorded, environment);
  if (problem) {
    const { what, why, fix } = problem;
    return { kind: isDelivering ? 'warning' : 'error', what, why, fix };
  }
  return fine(recorded === null ? 'no environment is recorded' : `the environment is "${recorded}"`);
}
