/**
 * "I changed a row and nothing came": follows the row's changes from its table to the receivers,
 * and says where they stopped. It only reads. It takes and returns values, so that a command and an
 * API can both use it.
 */
import type pg from 'pg';
import { Configurations } from '../../match/configurations.ts';
import { printable } from '../../shared/terminal.ts';
import { startRemedy } from '../../shared/text.ts';
import type { Answer, CapturedChange, Step } from './answer.ts';
import { explainChanges, type FoundChange, findChanges } from './changes.ts';
import { refusedSteps } from './refused.ts';
import { type Row, readRow } from './row.ts';
import { findSource, type Source, sourceSteps } from './source.ts';
import { findTable } from './table.ts';
import { rowSteps, webhookSteps } from './tenant.ts';

export interface Question {
  /** As PostgreSQL reads names: `orders`, `public.orders`, `"User"`. */
  table: string;
  /** A value for each column of the primary key. */
  key: readonly string[];
}

export async function whyOf(client: pg.Client, question: Question): Promise<Answer> {
  const table = await findTable(client, question.table, question.key);
  const source = await findSource(client, table);
  const row = await readRow(client, table, source, question.key);
  const steps = await sourceSteps(client, table, source, question.key);
  const answer: Answer = {
    table: table.name,
    key: Object.fromEntries(row.columns.map((name, index) => [name, question.key[index] ?? ''])),
    row: row.is,
    tenant_id: row.tenantId,
    steps,
    changes: [],
    arrived: false,
  };
  if (source === undefined) return answer;

  const configurations = new Configurations(client);
  const found = await findChanges(client, source, row.rowKey);
  answer.changes = await explainChanges(client, configurations, found);
  answer.tenant_id ??= answer.changes[0]?.tenant_id ?? null;
  steps.push(...rowSteps(table, source, row, { key: question.key, tenantId: answer.tenant_id }));
  if (answer.tenant_id !== null) {
    const webhooks = (await configurations.of([answer.tenant_id])).get(answer.tenant_id)?.webhooks ?? [];
    steps.push(...(await webhookSteps(client, source, answer.tenant_id, webhooks)));
  }
  const isKnown = steps.some(({ kind }) => kind === 'stops');
  const first = await firstWebhook(client, answer.tenant_id);
  steps.push(
    ...capturedSteps(source, row, answer.changes, { isKnown, first }),
    ...(await readSteps(client, found, answer.changes[0])),
    ...(await refusedSteps(client, answer.changes[0])),
  );
  answer.arrived = hasArrived(answer.changes[0]);
  return answer;
}

function hasArrived(newest: CapturedChange | undefined): boolean {
  const sent = (newest?.sendings ?? []).filter((sending) => sending.sent || sending.happened !== null);
  return sent.length > 0 && sent.every(({ happened }) => happened?.status === 'success');
}

interface FirstWebhook {
  id: string;
  name: string;
  since: Date;
}

/**
 * A change that was not captured cannot be found. So these steps list the possible reasons, the
 * likely one first, unless an earlier step is the reason.
 */
function capturedSteps(
  source: Source,
  row: Row,
  changes: readonly CapturedChange[],
  { isKnown, first }: { isKnown: boolean; first: FirstWebhook | undefined },
): Step[] {
  const [newest] = changes;
  if (newest !== undefined) {
    const thin = newest.truncated === null ? '' : `, with its key columns only (${newest.truncated})`;
    return [{ kind: 'fine', what: `its newest change was captured at ${newest.at.toISOString()}${thin}` }];
  }
  const subscribed = source.capture === 'subscribed';
  const none = 'no change of this row is in the outbox';
  if (isKnown) return [{ kind: 'stops', what: `${none}. The lines above say why` }];
  const who = first && `: webhook ${first.id} (${printable(first.name)}) was created at ${first.since.toISOString()}`;
  const reasons = [
    ...(row.tenantId === null && row.is !== 'found'
      ? ['the tenant of the row was null, and such a row makes no event']
      : []),
    ...(subscribed ? [`no webhook of its tenant wanted it at that moment${who ?? ''}. Then write the row again`] : []),
    `it was changed before the table was watched (${source.createdAt.toISOString()}), or more than 7 days ago`,
    ...(row.is === 'found' && source.ignoreColumns.length > 0
      ? [`only ignored columns changed (${source.ignoreColumns.join(', ')})`]
      : []),
    `this kind of change makes no event (the table makes ${source.events.join(', ')})`,
    ...(row.is === 'found' ? [] : ['its key is written in another way, such as 1.0 instead of 1']),
    'its session had set rowhook.mute = on or session_replication_role = replica',
    'its transaction has not committed',
  ];
  return [{ kind: 'stops', what: `${none}. Possible reasons, the likely one first: ${reasons.join('; ')}` }];
}

async function firstWebhook(client: pg.Client, tenantId: string | null): Promise<FirstWebhook | undefined> {
  const { rows } = await client.query<FirstWebhook>(
    `select id, name, created_at as since from rowhook.webhook_configurations
      where tenant_id = $1 order by created_at, id limit 1`,
    [tenantId],
  );
  return rows[0];
}

/** A position is written a second after its events, so an event with an attempt counts as read. */
async function readSteps(client: pg.Client, [found]: readonly FoundChange[], newest?: CapturedChange): Promise<Step[]> {
  if (!found?.isUnread || newest?.sendings.some(({ happened }) => happened !== null)) return [];
  const { rows } = await client.query<{ is_owned: boolean; environment: string | null }>(
    'select exists (select from rowhook.webhook_lane_owners) as is_owned, environment from rowhook.webhook_installation',
  );
  if (rows[0]?.is_owned)
    return [
      { kind: 'note', what: 'no daemon has read its newest change yet. A daemon is running, so it will be read soon' },
    ];
  const fix = startRemedy(rows[0]?.environment ?? null);
  return [{ kind: 'stops', what: 'no daemon is running, so its newest change has not been read', fix }];
}
