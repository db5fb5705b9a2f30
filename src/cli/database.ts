/** Commands that set the database up and run the daemon. */
import type { Command } from 'commander';
import { environment, oneOf, wholeNumber } from '../config/parse.ts';
import { readSettings } from '../config/settings.ts';
import { UserError } from '../shared/user-error.ts';
import { collect, commaList, help, onDatabase, out, parsed, settingFlags } from './define.ts';
import type { AdoptOptions } from './setup/adopt.ts';
import type { WatchOptions } from './setup/watch.ts';

interface JsonFlag {
  json?: boolean;
}

const watchCommands = () => import('./setup/watch.ts');

export function addDatabaseCommands(program: Command): void {
  program.commandsGroup('Set up and run:');
  addMigrate(program);
  addWatch(program);
  addUnwatch(program);
  addSources(program);
  addAdopt(program);
  addStart(program);
  addDemo(program);
}

function addMigrate(program: Command): void {
  const command = onDatabase(
    program.command('migrate').description('create the schema "rowhook" and its roles, or bring them up to date'),
    async (client, flags: JsonFlag) => (await import('./setup/migrate.ts')).migrate(client, flags, out),
  );
  help(
    command,
    ['DATABASE_URL=postgres://owner@localhost/app rowhook migrate'],
    'Run it as often as you like: what is there already is left alone.',
  );
}

function addWatch(program: Command): void {
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
      if (flags.preset !== undefined) await (await watchCommands()).watchPreset(client, flags.preset, flags, out);
      else await (await watchCommands()).watch(client, table ?? '', flags, out);
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

function addUnwatch(program: Command): void {
  const command = onDatabase(
    program
      .command('unwatch')
      .description("stop watching a table and take rowhook's triggers off it")
      .argument('<table>', 'the table'),
    async (client, table: string, flags: JsonFlag) => (await watchCommands()).unwatch(client, table, flags, out),
  );
  help(command, ['rowhook unwatch deals'], 'Events that were captured already are still delivered.');
}

function addSources(program: Command): void {
  const command = onDatabase(
    program.command('sources').description('list the watched tables and their events'),
    async (client, flags: JsonFlag) => (await watchCommands()).sources(client, flags, out),
  );
  help(command, ['rowhook sources', "rowhook sources --json | jq -r '.events[]'"]);
}

function addAdopt(program: Command): void {
  const command = onDatabase(
    program
      .command('adopt')
      .description('say which environment a copied or renamed database belongs to')
      .requiredOption(
        '--environment <name>',
        'the ROWHOOK_ENVIRONMENT of its daemons',
        parsed('--environment', environment),
      )
      .requiredOption(
        '--undelivered <what>',
        'deliver or discard: what becomes of the events that are undelivered here',
        parsed('--undelivered', oneOf(['deliver', 'discard'])),
      ),
    async (client, flags: AdoptOptions) => (await import('./setup/adopt.ts')).adopt(client, flags, out),
  );
  help(
    command,
    [
      'rowhook adopt --environment staging --undelivered discard      # a copy of production',
      'rowhook adopt --environment production --undelivered deliver   # the same database under a new name',
    ],
    'Stop the daemons of this database first. Its webhooks stay active: a copy of production still holds the URLs of its customers.',
  );
}

function addStart(program: Command): void {
  const command = settingFlags(program.command('start'))
    .description('run the daemon that delivers')
    .action(async (flags: Record<string, unknown>) => {
      const settings = readSettings(flags, process.env);
      const { start } = await import('./setup/start.ts');
      // all is recorded: a socket to a database that does not answer must not keep the process
      process.exit(await start(settings));
    });
  help(
    command,
    [
      'rowhook start',
      'ROWHOOK_ENVIRONMENT=production rowhook start --max-in-flight 512',
      'rowhook start --allow-http --allow-cidrs 127.0.0.0/8   # deliver to this machine',
    ],
    'A flag wins over the environment; an empty value is an unset one. Any number of daemons may run.\nSIGINT or SIGTERM lets attempts in flight end; a second one ends the process at once.',
    'Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage or settings.',
  );
}

function addDemo(program: Command): void {
  const command = program
    .command('demo')
    .description('see it work: a PostgreSQL of its own, CRM tables, a receiver and a daemon')
    .option('--once', 'exit when everything was delivered and logged')
    .option('--port <port>', "its PostgreSQL's port (default: a free one)", parsed('--port', wholeNumber(1, 65_535)))
    .option('--pg <major>', 'version of PostgreSQL, 15 or 18', parsed('--pg', oneOf(['15', '18'])), '18')
    .action(async ({ once = false, pg, ...rest }: { once?: boolean; port?: number; pg: string }) => {
      const { demo } = await import('./setup/demo.ts');
      process.exitCode = await demo({ once, pg: pg === '15' ? 15 : 18, ...rest }, out);
    });
  help(
    command,
    ['rowhook demo', 'rowhook demo --once'],
    '',
    'Exit codes: 0 all was delivered and logged, 1 it was not, 2 wrong usage.',
  );
}
