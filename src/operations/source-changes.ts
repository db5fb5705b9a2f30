/**
 * What a second `rowhook watch` of a table changed: the settings that it replaced, and the webhooks
 * that want an event type that is gone.
 */
import type pg from 'pg';
import { readUnproduced } from '../capture/unproduced-events.ts';
import { wants } from '../match/event-patterns.ts';

/** The settings of a watched table, and what it produces. */
export interface Settings {
  prefix: string;
  tenant: string;
  events: string[];
  derived: Record<string, string | Record<string, string>>;
  ignored: string[];
  excluded: string[];
  included: string[];
  capture: string;
  describe: boolean;
  maxPayloadBytes: number;
  eventTypes: string[];
}

/** The settings of all watched tables, by the id of their source. */
export async function readSettings(client: pg.ClientBase): Promise<Map<number, Settings>> {
  const { rows } = await client.query<Settings & { id: number }>(
    `select s.id, s.prefix, s.events, s.derived, s.ignore_columns as ignored, s.include_columns as included, s.capture,
            s.describe, s.max_payload_bytes as "maxPayloadBytes",
            coalesce('column ' || s.tenant_column, 'always ' || s.tenant_id) as tenant,
            rowhook._columns_among(s.relation, s.exclude_columns) as excluded,
            array(select e.event_type from rowhook.webhook_event_types e where e.relation = s.relation order by 1)
              as "eventTypes"
       from rowhook.webhook_sources s`,
  );
  return new Map(rows.map(({ id, ...settings }) => [id, settings]));
}

/** One line for each setting that differs. Pure. */
export function settingChanges(before: Settings, after: Settings): string[] {
  const values: [label: string, before: string, after: string][] = [
    ['prefix', before.prefix, after.prefix],
    ['tenant', before.tenant, after.tenant],
    ['events', listed(before.events), listed(after.events)],
    ['ignored columns', listed(before.ignored), listed(after.ignored)],
    ['excluded columns', listed(before.excluded), listed(after.excluded)],
    ['included columns', listed(before.included), listed(after.included)],
    ['capture', before.capture, after.capture],
    ['describe', String(before.describe), String(after.describe)],
    ['max payload bytes', String(before.maxPayloadBytes), String(after.maxPayloadBytes)],
  ];
  return [
    ...values.filter(([, old, now]) => old !== now).map(([label, old, now]) => `${label}: ${old} → ${now}`),
    ...derivedChanges(before, after),
  ];
}

/** The same rule under another prefix is not listed, because the line of the prefix says that. */
function derivedChanges(before: Settings, after: Settings): string[] {
  const [old, now] = [rulesOf(before.derived), rulesOf(after.derived)];
  const without = (rules: Map<string, string>, others: Map<string, string>) =>
    [...rules].filter(([rule]) => !others.has(rule)).map(([, suffix]) => suffix);
  const gone = without(old, now);
  const added = without(now, old);
  return [
    ...gone
      .filter((suffix) => !added.includes(suffix))
      .map((suffix) => `the derived event ${before.prefix}.${suffix} is gone`),
    ...added
      .filter((suffix) => !gone.includes(suffix))
      .map((suffix) => `the derived event ${after.prefix}.${suffix} is new`),
    ...added
      .filter((suffix) => gone.includes(suffix))
      .map((suffix) => `the derived event ${after.prefix}.${suffix} has another rule`),
  ];
}

/** The suffix of each rule. A rule is a column and its suffix, or a column, a value and its suffix. */
function rulesOf(derived: Settings['derived']): Map<string, string> {
  return new Map(
    Object.entries(derived).flatMap(([column, rule]) =>
      typeof rule === 'string'
        ? [[JSON.stringify([column, rule]), rule] as const]
        : Object.entries(rule).map(([value, suffix]) => [JSON.stringify([column, value, suffix]), suffix] as const),
    ),
  );
}

function listed(values: readonly string[]): string {
  return values.length === 0 ? 'none' : [...values].sort().join(', ');
}

/** A webhook that wants event types that the table produced, and that no table produces now. */
export interface Bereft {
  id: string;
  name: string;
  tenantId: string;
  wants: string[];
}

const INSUFFICIENT_PRIVILEGE = '42501';

/** Resolves to [] for a role that may not read the webhooks: it may watch a table of its own all the same. */
export async function bereftWebhooks(client: pg.ClientBase, before: Settings, after: Settings): Promise<Bereft[]> {
  const gone = before.eventTypes.filter((type) => !after.eventTypes.includes(type));
  if (gone.length === 0) return [];
  const found = await readUnproduced(client, null, { countReceived: false }).catch((error: { code?: string }) => {
    if (error.code === INSUFFICIENT_PRIVILEGE) return [];
    throw error;
  });
  return found
    .map(({ id, name, tenantId, unproduced }) => ({
      id,
      name,
      tenantId,
      wants: unproduced.filter((pattern) => gone.some((type) => wants([pattern], type))),
    }))
    .filter((webhook) => webhook.wants.length > 0);
}
