/** `rowhook watch`, `unwatch` and `sources`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { oneOf, wholeNumber } from '../../config/parse.ts';
import type { PresetTable } from '../../operations/sources.ts';
import { type Cell, type Out, printable, printTable } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';
import { type Cli, collect, commaList, help, onDatabase, parsed } from '../define.ts';
import { printChanges } from './watch-changes.ts';

interface JsonFlag {
  json?: boolean;
}

interface WatchOptions {
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
  exclude?: string[];
  include?: string[];
  /** False: --no-describe. */
  describe?: boolean;
  json?: boolean;
}

const operations = () => import('../../operations/sources.ts');

export function addWatch(program: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    program
      .command('watch')
      .description("turn a table's row changes into events")
      .argument('[table]', 'the table; add its schema if that is not in the search_path')
      .option('--preset <name>', 'watch the existing tables of a preset: crm, sales, inbox, users or all')
      .option('--schema <name>', "schema of the preset's tables (default: public)")
      .option('--prefix <prefix>', "first part of the event types (default: the table's name)")
      .option('--tenant-column <column>', 'column that holds the tenant (default: organization_id, tenant_id …)')
      .option('--tenant-id <tenant>', 'one fixed tenant for all rows of the table')
      .option('--events <list>', 'only some of created,updated,deleted (default: all)', commaList)
      .option(
        '--derived <rule>',
        'an additional event: stage=stage.changed if a column changes, status:won=won if it gets a value; repeatable',
        collect,
      )
      .option(
        '--ignore-columns <list>',
        'an UPDATE of only these columns makes no event (default: updated_at)',
        commaList,
      )
      .option(
        '--capture <what>',
        'subscribed (default): what a webhook wants; all: everything, for history',
        parsed('--capture', oneOf(['subscribed', 'all'])),
      )
      .option(
        '--max-payload-bytes <n>',
        'a larger event contains only its key columns (default: 1048576)',
        parsed('--max-payload-bytes', wholeNumber(0, 2 ** 31 - 1)),
      )
      .option('--exclude <list>', 'columns that are never sent; names of credentials are excluded anyway', commaList)
      .option('--include <list>', 'columns that are sent although they look like credentials', commaList)
      .option('--no-describe', 'leave the comments of the table and its columns out of the catalog'),
    async (client, table: string | undefined, flags: WatchOptions) => {
      if (flags.preset !== undefined) await watchPreset(client, flags.preset, flags, cli.out);
      else await watch(client, table ?? '', flags, cli.out);
    },
  ).hook('preAction', (watching) => {
    const isPreset = watching.opts().preset !== undefined;
    if (watching.args.length > 0 === isPreset) throw new UserError('watch: give either a table or --preset.', 2);
  });
  help(
    command,
    [
      'rowhook watch orders --tenant-column account_id',
      'rowhook watch orders --tenant-id main   # if your application has no tenants',
      'rowhook watch deals --prefix deal --derived stage=stage.changed --derived assigned_to=assigned',
      'rowhook watch public.invoices --ignore-columns updated_at,seen_at',
      'rowhook watch users --exclude birthday,notes',
      'rowhook watch --preset crm',
    ],
    [
      'If the table is already watched, this replaces its settings.',
      'Excluded columns stay excluded until --include names them, or --exclude names others.',
    ],
  );
}

export function addUnwatch(program: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    program
      .command('unwatch')
      .description("stop watching a table and remove rowhook's triggers from it")
      .argument('<table>', 'the table'),
    (client, table: string, flags: JsonFlag) => unwatch(client, table, flags, cli.out),
  );
  help(command, ['rowhook unwatch deals'], 'Events that are already captured are still delivered.');
}

export function addSources(program: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    program.command('sources').description('list the watched tables and their events'),
    (client, flags: JsonFlag) => sources(client, flags, cli.out),
  );
  help(command, ['rowhook sources', "rowhook sources --json | jq -r '.events[]'"]);
}

async function watch(client: pg.Client, table: string, options: WatchOptions, out: Out): Promise<void> {
  const { watchTable } = await operations();
  const { derived, exclude, include } = options;
  const settings = {
    ...options,
    derived: derived && derivedOf(derived),
    ...(exclude && { excludeColumns: exclude }),
    ...(include && { includeColumns: include }),
  };
  const notes = notices(client);
  const watched = await watchTable(client, table, settings).catch((error) => {
    throw withFlags(error);
  });
  const { source } = watched;
  if (options.json) out.print(JSON.stringify({ ...source, notes, changes: watched.changes }));
  else {
    out.print(`Watching ${source.relation}: ${source.events.join(', ')}. The tenant is ${source.tenant}.`);
    printChanges(watched, out);
    printNotes(notes, out);
  }
}

/** The arguments of rowhook.watch() in SQL, and the flags that a reader of this command knows. */
const FLAGS: Readonly<Record<string, string>> = {
  tenant_column: '--tenant-column',
  tenant_id: '--tenant-id',
  ignore_columns: '--ignore-columns',
  exclude_columns: '--exclude',
  include_columns: '--include',
};

/** A hint of rowhook.watch() with flags. Its message names columns of the table, so it stays as it is. */
function withFlags(error: Error & { hint?: string }): Error {
  if (error.hint !== undefined && !error.hint.includes('=>'))
    error.hint = error.hint.replaceAll(/\w+/g, (word) => FLAGS[word] ?? word);
  return error;
}

/** Collects the notices that the database sends for later statements. */
function notices(client: pg.Client): string[] {
  const notes: string[] = [];
  client.on('notice', ({ message, hint }) => notes.push([message, hint].filter(Boolean).join('. ')));
  return notes;
}

function printNotes(notes: readonly string[], out: Out): void {
  for (const note of notes) out.print(out.paint('yellow', `Note: ${printable(note)}`));
}

async function watchPreset(client: pg.Client, preset: string, options: WatchOptions, out: Out): Promise<void> {
  const { presetTables, watchPresetTable } = await operations();
  const tables = await presetTables(client, preset);
  const rows: PresetTable[] = [];
  const notes = notices(client);
  try {
    // As rowhook.watch_preset(), but with a transaction for each table, so that no table stays locked
    // while this waits for the next one.
    for (const name of tables) rows.push(...(await watchPresetTable(client, name, options.schema ?? 'public')));
  } finally {
    // If one table fails, the tables before it are watched and are printed.
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
      'No table of this preset exists. Name your own table: "rowhook watch orders --tenant-column account_id".',
    );
  }
}

async function unwatch(client: pg.Client, table: string, options: { json?: boolean }, out: Out): Promise<void> {
  const removed = await (await operations()).unwatchTable(client, table);
  if (options.json) out.print(JSON.stringify({ table, removed }));
  else out.print(removed ? `No longer watching ${table}.` : `${table} was not watched. Nothing to do.`);
}

async function sources(client: pg.Client, options: { json?: boolean }, out: Out): Promise<void> {
  const { rows, problems } = await (await operations()).readSources(client);
  if (options.json) {
    for (const row of rows) {
      const found = row.problems.map(({ what, fix }) => ({ what, fix }));
      out.print(JSON.stringify({ ...row, problems: found }));
    }
  } else if (rows.length === 0) {
    out.print('No table is watched. Start with "rowhook watch <table>".');
  } else {
    const excludes = rows.some(({ excluded }) => excluded.length > 0);
    printTable(
      out,
      ['table', 'tenant', 'capture', 'events', ...(excludes ? ['excluded columns'] : [])],
      rows.map((row) => [
        row.problems.length > 0 ? { text: row.relation, style: 'red' } : row.relation,
        row.tenant,
        row.capture,
        row.events.join(' '),
        ...(excludes ? [row.excluded.join(' ')] : []),
      ]),
    );
    for (const { what, fix } of problems) out.print(`\n${out.paint('yellow', what)}\n  ${out.paint('bold', fix)}`);
  }
}

/** `stage=stage.changed`: if the column changes. `status:won=won`: if it gets that value. */
function derivedOf(rules: readonly string[]): Record<string, string | Record<string, string>> {
  const derived: Record<string, string | Record<string, string>> = {};
  for (const rule of rules.filter((text) => text !== '')) {
    const [, column, value, suffix] = /^([^:=]+)(?::([^=]+))?=(.+)$/.exec(rule) ?? [];
    if (column === undefined || suffix === undefined) {
      throw new UserError(`--derived: "${rule}" is not a rule. Write it as stage=stage.changed or status:won=won.`, 2);
    }
    const before = derived[column];
    if (before !== undefined && (value === undefined || typeof before === 'string')) {
      throw new UserError(
        `--derived: "${rule}": column ${column} has another rule. Give one rule for any change, or rules for values.`,
        2,
      );
    }
    derived[column] = value === undefined ? suffix : { ...before, [value]: suffix };
  }
  return derived;
}
