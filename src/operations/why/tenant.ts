/**
 * Checks that the row has a tenant, and that a webhook of the tenant subscribes to the table's
 * events.
 */
import type pg from 'pg';
import { nearEventType, readEventTypes } from '../../capture/unproduced-events.ts';
import { wants } from '../../match/event-patterns.ts';
import type { Webhook } from '../../model.ts';
import { quoted, shellWord } from '../../shared/shell-quote.ts';
import { nearNames } from '../../shared/spelling.ts';
import { printable } from '../../shared/terminal.ts';
import type { Step } from './answer.ts';
import type { Row } from './row.ts';
import type { Source } from './source.ts';
import type { Table } from './table.ts';

/** Limit on tenants whose names are compared, and on listed webhooks. */
const TENANTS_MAX = 10_000;
const LISTED_MAX = 20;

/** `tenantId` is that of the source, of the row, or of the row's newest change. */
export function rowSteps(
  table: Table,
  source: Source,
  row: Row,
  { key, tenantId }: { key: readonly string[]; tenantId: string | null },
): Step[] {
  if (row.is === 'gone')
    return [{ kind: 'note', what: 'the row does not exist, or row-level security hides it from this role' }];
  if (row.is === 'unseen') {
    const unknown = tenantId === null ? ', so its tenant is unknown' : '';
    const what = `the row cannot be read${unknown}: ${printable(row.because ?? '')}`;
    if (!row.because?.startsWith('permission denied')) return [{ kind: 'note', what }];
    const fix = `run "rowhook why" with a login that may read ${table.name}, such as that of its owner`;
    return [{ kind: 'note', what, fix: printable(fix) }];
  }
  if (row.tenantId !== null || source.tenantColumn === null) return [];
  const column = printable(source.tenantColumn);
  const literal = (text = '') => `'${printable(text).replaceAll("'", "''")}'`;
  const where = row.quotedColumns.map((name, i) => `${printable(name)} = ${literal(key[i])}`).join(' and ');
  return [
    {
      kind: 'stops',
      what: `${column} of the row is null, and a row without a tenant makes no event`,
      fix: `update ${printable(table.name)} set ${column} = '<tenant>' where ${where};`,
    },
  ];
}

export async function webhookSteps(
  client: pg.Client,
  source: Source,
  tenantId: string,
  webhooks: readonly Webhook[],
): Promise<Step[]> {
  if (webhooks.length === 0) return [await noWebhook(client, source, tenantId)];
  const produced = await readEventTypes(client);
  const steps = webhooks.slice(0, LISTED_MAX).map((webhook) => webhookStep(source, webhook, produced));
  if (webhooks.length > LISTED_MAX) {
    const what = `the tenant has ${webhooks.length - LISTED_MAX} more webhooks`;
    steps.push({ kind: 'note', what, fix: `rowhook webhook list --tenant ${quoted(tenantId)}` });
  }
  if (webhooks.some((webhook) => webhookStep(source, webhook, produced).kind === 'fine')) return steps;
  return steps.map((step) => (step.kind === 'note' && step.fix !== undefined ? { ...step, kind: 'stops' } : step));
}

/**
 * A webhook without a matching event type is a note. If no webhook matches, the step stops, because
 * nothing is captured.
 */
function webhookStep({ events, prefix }: Source, webhook: Webhook, produced: readonly string[]): Step {
  const { id, name, isActive, disabledReason, unusable, settings } = webhook;
  const who = `webhook ${id} (${printable(name)})`;
  if (unusable !== null) {
    return { kind: 'note', what: `${who} cannot be used: ${printable(unusable)}`, fix: `rowhook webhook show ${id}` };
  }
  const wanted = events.filter((event) => wants(settings.eventTypes, event));
  if (wanted.length === 0) {
    const what = `${who} wants ${settings.eventTypes.map(printable).join(', ')}, which the table does not produce`;
    const corrected = settings.eventTypes.map((type) => meant(type, events, produced));
    const isMisspelt = events.some((event) => wants(corrected, event));
    const eventTypes = shellWord([...new Set(isMisspelt ? corrected : [...corrected, `${prefix}.*`])].join(','));
    return { kind: 'note', what, fix: `rowhook webhook update ${id} --events ${eventTypes} --force` };
  }
  if (!isActive) {
    const why = disabledReason === null ? 'switched off' : `disabled by rowhook: ${printable(disabledReason)}`;
    return { kind: 'note', what: `${who} is ${why}`, fix: `rowhook webhook enable ${id}` };
  }
  const filter = settings.filter === null ? '' : ', if its filter passes';
  return { kind: 'fine', what: `${who} wants ${wanted.join(', ')}${filter}` };
}

/** The event type of the table, if another one is misspelt: if nothing produces it. */
function meant(type: string, events: readonly string[], produced: readonly string[]): string {
  return produced.some((event) => wants([type], event)) ? type : (nearEventType(type, events) ?? type);
}

async function noWebhook(client: pg.Client, { prefix }: Source, tenantId: string): Promise<Step> {
  const { rows } = await client.query<{ tenant_id: string }>(
    `select distinct tenant_id from rowhook.webhook_configurations limit ${TENANTS_MAX}`,
  );
  const near = nearNames(
    tenantId,
    rows.map(({ tenant_id }) => tenant_id),
  );
  const others = near.length > 0 ? near : rows.slice(0, 3).map(({ tenant_id }) => tenant_id);
  const hint =
    others.length === 0 ? '' : `; there are webhooks of ${others.map((name) => `"${printable(name)}"`).join(', ')}`;
  const tenant = quoted(printable(tenantId));
  return {
    kind: 'stops',
    what: `no webhook has the row's tenant "${printable(tenantId)}"${hint}`,
    fix: `rowhook webhook create --tenant ${tenant} --name <name> --url <url> --events '${prefix}.*'`,
  };
}
