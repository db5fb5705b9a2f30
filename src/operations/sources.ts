/**
 * Reads and changes the watched tables. Their triggers write changes into the outbox. Returns
 * values only.
 */
import type pg from 'pg';
import { sourceProblems } from '../capture/source-problems.ts';
import { type Bereft, bereftWebhooks, readSettings, settingChanges } from './source-changes.ts';

export interface SourceSettings {
  prefix?: string;
  tenantColumn?: string;
  tenantId?: string;
  events?: string[];
  derived?: Record<string, string | Record<string, string>> | undefined;
  ignoreColumns?: string[];
  capture?: string;
  maxPayloadBytes?: number;
  excludeColumns?: string[];
  includeColumns?: string[];
  describe?: boolean;
}

export interface Source {
  relation: string;
  prefix: string;
  tenant: string;
  events: string[];
  capture: string;
  /** Columns that are never captured. */
  excluded: string[];
}

/** Both lists are empty if the table was not watched. */
export interface Watched {
  source: Source;
  /** One line for each setting that this replaced. */
  changes: string[];
  /** Webhooks that want event types of the former settings. */
  bereft: Bereft[];
}

export interface PresetTable {
  relation: string;
  prefix: string;
  status: string;
  detail: string | null;
}

const SOURCE_COLUMNS = `
  case when exists (select from pg_class c where c.oid = s.relation) then rowhook._qualified(s.relation)
       else format('%I.%I', s.schema_name, s.table_name) end as relation,
  s.prefix,
  coalesce(s.tenant_column::text, 'always ' || s.tenant_id) as tenant,
  array(select e.event_type from rowhook.webhook_event_types e where e.relation = s.relation order by 1) as events,
  s.capture,
  rowhook._columns_among(s.relation, s.exclude_columns) as excluded`;

export async function watchTable(client: pg.Client, table: string, settings: SourceSettings): Promise<Watched> {
  // Only given options are passed, so that the function's own defaults apply.
  const parameters = [
    ['prefix', settings.prefix, 'text'],
    ['tenant_column', settings.tenantColumn, 'text'],
    ['tenant_id', settings.tenantId, 'text'],
    ['events', settings.events, 'text[]'],
    ['derived', settings.derived && JSON.stringify(settings.derived), 'jsonb'],
    ['ignore_columns', settings.ignoreColumns, 'text[]'],
    ['capture', settings.capture, 'text'],
    ['max_payload_bytes', settings.maxPayloadBytes, 'int'],
    ['exclude_columns', settings.excludeColumns, 'text[]'],
    ['include_columns', settings.includeColumns, 'text[]'],
    ['describe', settings.describe, 'boolean'],
  ].filter(([, value]) => value !== undefined);
  const named = parameters.map(([name, , type], index) => `, ${name} => $${index + 2}::${type}`);
  const before = await readSettings(client);
  const watched = await client.query<{ id: number }>(`select (rowhook.watch($1::text${named.join('')})).id`, [
    table,
    ...parameters.map(([, value]) => value),
  ]);
  const id = watched.rows[0]?.id as number;
  const { rows } = await client.query<Source>(
    `select ${SOURCE_COLUMNS} from rowhook.webhook_sources s where s.id = $1`,
    [id],
  );
  const [old, now] = [before.get(id), (await readSettings(client)).get(id)];
  return {
    source: rows[0] as Source,
    changes: old && now ? settingChanges(old, now) : [],
    bereft: old && now ? await bereftWebhooks(client, old, now) : [],
  };
}

/** The names of a preset's tables, whether the tables exist or not. */
export async function presetTables(client: pg.Client, preset: string): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>('select name from rowhook._preset_tables($1) as name', [
    preset,
  ]);
  return rows.map(({ name }) => name);
}

export async function watchPresetTable(client: pg.Client, name: string, schema: string): Promise<PresetTable[]> {
  const { rows } = await client.query<PresetTable>(
    'select relation, prefix, status, detail from rowhook._watch_preset_table($1, $2)',
    [name, schema],
  );
  return rows;
}

/** False if the table was not watched. */
export async function unwatchTable(client: pg.Client, table: string): Promise<boolean> {
  const { rows } = await client.query<{ removed: boolean }>('select rowhook.unwatch($1::text) as removed', [table]);
  return rows[0]?.removed === true;
}

/** The watched tables, each with its problems, and the problems of all tables. */
export async function readSources(client: pg.Client) {
  const { rows } = await client.query<Source & { name: string }>(
    `select ${SOURCE_COLUMNS}, format('%I.%I', s.schema_name, s.table_name) as name
       from rowhook.webhook_sources s order by 1`,
  );
  const problems = await sourceProblems(client);
  return {
    rows: rows.map(({ name, ...row }) => ({
      ...row,
      problems: problems.filter(({ table }) => table === row.relation || table === name),
    })),
    problems,
  };
}
