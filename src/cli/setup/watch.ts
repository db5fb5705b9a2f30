import type pg from 'pg';
import { sourceProblems } from '../../capture/source-problems.ts';
import { type Cell, type Out, printable, printTable } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';

export interface WatchOptions {
  preset?: string;
  prefix?: string;
  tenantColumn?: string;
  tenantId?: string;
  events?: string[];
  schema?: string;
  derived?: string[];
  ignoreColumns?: string[];
  capture?: string;
  maxPayloadBytes?: number;
  json?: boolean;
}

interface Source {
  relation: string;
  prefix: string;
  tenant: string;
  events: string[];
  capture: string;
}

interface PresetTable {
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
  s.capture`;

export async function watch(client: pg.Client, table: string, options: WatchOptions, out: Out): Promise<void> {
  // Only what was given is passed: the defaults are the function's own.
  const parameters = [
    ['prefix', options.prefix, 'text'],
    ['tenant_column', options.tenantColumn, 'text'],
    ['tenant_id', options.tenantId, 'text'],
    ['events', options.events, 'text[]'],
    ['derived', options.derived && JSON.stringify(derivedOf(options.derived)), 'jsonb'],
    ['ignore_columns', options.ignoreColumns, 'text[]'],
    ['capture', options.capture, 'text'],
    ['max_payload_bytes', options.maxPayloadBytes, 'int'],
  ].filter(([, value]) => value !== undefined);
  const named = parameters.map(([name, , type], index) => `, ${name} => $${index + 2}::${type}`);

  const notes = notices(client);
  const watched = await client.query<{ id: number }>(`select (rowhook.watch($1::text${named.join('')})).id`, [
    table,
    ...parameters.map(([, value]) => value),
  ]);
  const { rows } = await client.query<Source>(
    `select ${SOURCE_COLUMNS} from rowhook.webhook_sources s where s.id = $1`,
    [watched.rows[0]?.id],
  );
  const source = rows[0] as Source;
  if (options.json) out.print(JSON.stringify({ ...source, notes }));
  else {
    out.print(`Watching ${source.relation}: ${source.events.join(', ')}. The tenant is ${source.tenant}.`);
    printNotes(notes, out);
  }
}

/** What the database has to say of the statements that follow. */
function notices(client: pg.Client): string[] {
  const notes: string[] = [];
  client.on('notice', ({ message, hint }) => notes.push([message, hint].filter(Boolean).join('. ')));
  return notes;
}

function printNotes(notes: readonly string[], out: Out): void {
  for (const note of notes) out.print(out.paint('yellow', `Note: ${printable(note)}`));
}

export async function watchPreset(client: pg.Client, preset: string, options: WatchOptions, out: Out): Promise<void> {
  // as rowhook.watch_preset() does, but each table in a transaction of its own: none stays locked while the next one is waited for
  const tables = await client.query<{ name: string }>('select name from rowhook._preset_tables($1) as name', [preset]);
  const rows: PresetTable[] = [];
  const notes = notices(client);
  try {
    for (const { name } of tables.rows) {
      const watched = await client.query<PresetTable>(
        'select relation, prefix, status, detail from rowhook._watch_preset_table($1, $2)',
        [name, options.schema ?? 'public'],
      );
      rows.push(...watched.rows);
    }
  } finally {
    // should one fail, those before it are watched all the same
    if (rows.length > 0) printPreset(rows, options, out);
    if (!options.json) printNotes(notes, out);
  }
}

function printPreset(rows: readonly PresetTable[], options: WatchOptions, out: Out): void {
  if (options.json) {
    for (const row of rows) out.print(JSON.stringify(row));
    return;
  }
  const colored = (status: string): Cell => ({ text: status, style: status === 'missing' ? 'dim' : 'green' });
  printTable(
    out,
    ['table', 'prefix', 'status', 'detail'],
    rows.map((row) => [row.relation, row.prefix, colored(row.status), row.detail]),
  );
  if (rows.every(({ status }) => status === 'missing')) {
    out.print(
      'Nothing is watched by this: name your own tables, as in "rowhook watch orders --tenant-column account_id".',
    );
  }
}

export async function unwatch(client: pg.Client, table: string, options: { json?: boolean }, out: Out): Promise<void> {
  const { rows } = await client.query<{ removed: boolean }>('select rowhook.unwatch($1::text) as removed', [table]);
  const removed = rows[0]?.removed === true;
  if (options.json) out.print(JSON.stringify({ table, removed }));
  else out.print(removed ? `No longer watching ${table}.` : `${table} was not watched: nothing to do.`);
}

export async function sources(client: pg.Client, options: { json?: boolean }, out: Out): Promise<void> {
  const { rows } = await client.query<Source & { name: string }>(
    `select ${SOURCE_COLUMNS}, format('%I.%I', s.schema_name, s.table_name) as name from rowhook.webhook_sources s order by 1`,
  );
  const problems = await sourceProblems(client);
  const of = ({ relation, name }: { relation: string; name: string }) =>
    problems.filter(({ table }) => table === relation || table === name);
  if (options.json) {
    for (const { name, ...row } of rows) {
      const found = of({ ...row, name }).map(({ what, mend }) => ({ what, mend }));
      out.print(JSON.stringify({ ...row, problems: found }));
    }
  } else if (rows.length === 0) {
    out.print('No table is watched: begin with "rowhook watch <table>" or "rowhook watch --preset crm".');
  } else {
    printTable(
      out,
      ['table', 'tenant', 'capture', 'events'],
      rows.map((row) => [
        of(row).length > 0 ? { text: row.relation, style: 'red' } : row.relation,
        row.tenant,
        row.capture,
        row.events.join(' '),
      ]),
    );
    for (const { what, mend } of problems) out.print(`\n${out.paint('yellow', what)}\n  ${out.paint('bold', mend)}`);
  }
}

/** `stage=stage.changed`: when the column changes; `status:won=won`: when it becomes that value. */
function derivedOf(rules: readonly string[]): Record<string, string | Record<string, string>> {
  const derived: Record<string, string | Record<string, string>> = {};
  for (const rule of rules.filter((text) => text !== '')) {
    const [, column, value, suffix] = /^([^:=]+)(?::([^=]+))?=(.+)$/.exec(rule) ?? [];
    if (column === undefined || suffix === undefined) {
      throw new UserError(`--derived: "${rule}" is no rule: write it as stage=stage.changed or status:won=won.`, 2);
    }
    const before = derived[column];
    if (before !== undefined && (value === undefined || typeof before === 'string')) {
      throw new UserError(
        `--derived: "${rule}" is one rule too many for column ${column}: either one for any change, or some for values.`,
        2,
      );
    }
    derived[column] = value === undefined ? suffix : { ...before, [value]: suffix };
  }
  return derived;
}
