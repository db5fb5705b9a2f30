/** `rowhook watch`, `unwatch` and `sources`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { oneOf, wholeNumber } from '../../config/parse.ts';
import type { PresetTable } from '../../operations/sources.ts';
import { type Cell, type Out, printable, printTable } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';
import { collect, commaList, help, onDatabase, out, parsed } from '../define.ts';

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
  json?: boolean;
}

const operations = () => import('../../operations/sources.ts');

export function addWatch(program: Command): void {
  const command = onDatabase(
    program
      .command('watch')
      .description("turn a table's row changes into events")
      .argument('[table]', 'the table, with its schema where that is not in the search_path')
      .option('--preset <name>', 'watch those tables of a preset that exist: crm, sales, inbox, users or all')
      .option('--schema <name>', "the schema of a preset's tables (default: public)")
      .option('--prefix <prefix>', "what its events' names begin with (default: the table's name)")
      .option('--tenant-column <column>', 'the column that names the tenant (default: organization_id, tenant_id …)')
      .option('--tenant-id <tenant>', 'the one tenant that all of its rows belong to')
      .option('--events <list>', 'some of created,updated,deleted (default: all)', commaList)
      .option(
        '--derived <rule>',
        'a further event: stage=stage.changed when a column changes, status:won=won when it becomes a value; repeatable',
        collect,
      )
      .option('--ignore-columns <list>', 'an UPDATE of these alone is no event (default: updated_at)', commaList)
      .option(
        '--capture <what>',
        'subscribed (default): what a webhook wants; all: everything, for history',
        parsed('--capture', oneOf(['subscribed', 'all'])),
      )
      .option(
        '--max-payload-bytes <n>',
        'above it an event holds the key columns only (default: 1048576)',
        parsed('--max-payload-bytes', wholeNumber(0, 2 ** 31 - 1)),
      ),
    async (client, table: string | undefined, flags: WatchOptions) => {
      if (flags.preset !== undefined) await watchPreset(client, flags.preset, flags, out);
      else await watch(client, table ?? '', flags, out);
    },
  ).hook('preAction', (watching) => {
    const isPreset = watching.opts().preset !== undefined;
    if (watching.args.length > 0 === isPreset) throw new UserError('watch: give either a table or --preset.', 2);
  });
  help(
    command,
    [
      'rowhook watch --preset crm',
      'rowhook watch deals --prefix deal --derived stage=stage.changed --derived assigned_to=assigned',
      'rowhook watch public.invoices --tenant-column account_id --ignore-columns updated_at,seen_at',
    ],
    'Watching a table again replaces its settings.',
  );
}

export function addUnwatch(program: Command): void {
  const command = onDatabase(
    program
      .command('unwatch')
      .description("stop watching a table and take rowhook's triggers off it")
      .argument('<table>', 'the table'),
    (client, table: string, flags: JsonFlag) => unwatch(client, table, flags, out),
  );
  help(command, ['rowhook unwatch deals'], 'Events that were captured already are still delivered.');
}

export function addSources(program: Command): void {
  const command = onDatabase(
    program.command('sources').description('list the watched tables and their events'),
    (client, flags: JsonFlag) => sources(client, flags, out),
  );
  help(command, ['rowhook sources', "rowhook sources --json | jq -r '.events[]'"]);
}

async function watch(client: pg.Client, table: string, options: WatchOptions, out: Out): Promise<void> {
  const { watchTable } = await operations();
  const { derived } = options;
  const settings = { ...options, derived: derived && derivedOf(derived) };
  const notes = notices(client);
  const source = await watchTable(client, table, settings);
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

async function watchPreset(client: pg.Client, preset: string, options: WatchOptions, out: Out): Promise<void> {
  const { presetTables, watchPresetTable } = await operations();
  const tables = await presetTables(client, preset);
  const rows: PresetTable[] = [];
  const notes = notices(client);
  try {
    // as rowhook.watch_preset() does, but each table in a transaction of its own: none stays locked while the next one is waited for
    for (const name of tables) rows.push(...(await watchPresetTable(client, name, options.schema ?? 'public')));
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

async function unwatch(client: pg.Client, table: string, options: { json?: boolean }, out: Out): Promise<void> {
  const removed = await (await operations()).unwatchTable(client, table);
  if (options.json) out.print(JSON.stringify({ table, removed }));
  else out.print(removed ? `No longer watching ${table}.` : `${table} was not watched: nothing to do.`);
}

async function sources(client: pg.Client, options: { json?: boolean }, out: Out): Promise<void> {
  const { rows, problems } = await (await operations()).readSources(client);
  if (options.json) {
    for (const row of rows) {
      const found = row.problems.map(({ what, mend }) => ({ what, mend }));
      out.print(JSON.stringify({ ...row, problems: found }));
    }
  } else if (rows.length === 0) {
    out.print('No table is watched: begin with "rowhook watch <table>" or "rowhook watch --preset crm".');
  } else {
    printTable(
      out,
      ['table', 'tenant', 'capture', 'events'],
      rows.map((row) => [
        row.problems.length > 0 ? { text: row.relation, style: 'red' } : row.relation,
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
