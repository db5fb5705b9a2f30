/** `rowhook api-key`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { cidrs, uuid, wholeNumber } from '../../config/parse.ts';
import type { ApiKey } from '../../operations/api-keys.ts';
import { type Out, printPairs, printTable } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';
import { type Cli, commaList, help, LIMIT_MAX, onDatabase, parsed } from '../define.ts';

const operations = () => import('../../operations/api-keys.ts');

interface JsonFlag {
  json?: boolean;
}

export function addApiKey(program: Command, cli: Cli): void {
  const group = program.command('api-key').description('create, list, rotate and revoke keys of the API');
  group.helpCommand(false);
  addCreate(group, cli);
  addList(group, cli);
  addRotate(group, cli);
  addRevoke(group, cli);
  help(group, [
    'rowhook api-key create --tenant acme --name CRM',
    'rowhook api-key create --operator --name ops --expires-in 90d',
  ]);
}

interface CreateFlags extends JsonFlag {
  tenant?: string;
  name: string;
  scopes?: string[];
  operator?: boolean;
  expiresIn?: string;
  allowedIps?: string[];
}

function addCreate(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    group
      .command('create')
      .description('create a key, and print its token (shown only once)')
      .requiredOption('--name <name>', 'name of the key (required)')
      .option('--tenant <tenant>', 'tenant whose webhooks it may reach')
      .option('--operator', 'a key for whoever runs rowhook: it reaches every tenant')
      .option('--scopes <list>', 'read, write, inbound, keys (default: read,write; with --operator: all)', commaList)
      .option('--expires-in <time>', 'when it ends, such as 90d or 12h (default: never)', parsed('--expires-in', span))
      .option('--allowed-ips <list>', 'use it only from these IP ranges', parsed('--allowed-ips', cidrs)),
    (client, flags: CreateFlags) => createKey(client, flags, cli.out),
  );
  help(command, [
    'rowhook api-key create --tenant acme --name CRM --scopes read',
    'rowhook api-key create --operator --name ops --expires-in 90d --json',
  ]);
}

/** As PostgreSQL reads an interval. */
function span(text: string): string {
  const [, count, unit = ''] = /^(\d{1,5})([smhd])$/.exec(text) ?? [];
  if (Number(count) > 0) return `${count} ${{ s: 'seconds', m: 'minutes', h: 'hours', d: 'days' }[unit]}`;
  throw new Error('is not a time span. Write it as 90d, 12h, 30m or 60s');
}

async function createKey(client: pg.Client, flags: CreateFlags, out: Out): Promise<void> {
  const { tenant, operator = false, expiresIn, allowedIps } = flags;
  if ((tenant === undefined) !== operator)
    throw new UserError('api-key create: give either --tenant or --operator.', 2);
  const given = flags.scopes ?? (operator ? ['read', 'write', 'inbound', 'keys'] : ['read', 'write']);
  const scopes = operator ? [...given, 'operator'] : given;
  const { makeKey } = await operations();
  const expiresAt = expiresIn === undefined ? null : await fromNow(client, expiresIn);
  const { id, token } = await makeKey(client, tenant ?? null, { name: flags.name, scopes, allowedIps, expiresAt });
  printToken(id, token, flags, out);
}

async function fromNow(client: pg.Client, interval: string): Promise<string> {
  const { rows } = await client.query<{ at: string }>('select (now() + $1::interval)::text as at', [interval]);
  return rows[0]?.at as string;
}

function printToken(id: string, token: string, { json }: JsonFlag, out: Out): void {
  if (json) {
    out.print(JSON.stringify({ id, token }));
    return;
  }
  printPairs(out, [
    ['key', { text: id, style: 'bold' }],
    ['token', { text: token, style: 'bold' }],
  ]);
  out.print('\nSave the token now. It is not shown again.');
}

function addList(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    group
      .command('list')
      .description('list keys, newest first')
      .option('--tenant <tenant>', 'only this tenant')
      .option('--limit <n>', 'maximum number of rows', parsed('--limit', wholeNumber(1, LIMIT_MAX)), 1_000),
    (client, flags: JsonFlag & { tenant?: string; limit: number }) => listKeys(client, flags, cli.out),
  );
  help(command, ['rowhook api-key list --tenant acme']);
}

async function listKeys(
  client: pg.Client,
  { tenant, limit, json }: JsonFlag & { tenant?: string; limit: number },
  out: Out,
): Promise<void> {
  const keys = await (await operations()).listKeys(client, tenant, limit);
  if (json) {
    for (const { created_us: _, ...key } of keys) out.print(JSON.stringify(key));
  } else if (keys.length === 0) {
    out.print('No API keys. Create one with "rowhook api-key create".');
  } else {
    const heads = ['id', 'tenant', 'name', 'begins', 'scopes', 'last used', 'state'];
    printTable(out, heads, keys.map(rowOf));
  }
}

function rowOf(key: ApiKey) {
  const { id, tenant_id, name, prefix, scopes, last_used_at } = key;
  return [
    id,
    tenant_id ?? '(operator)',
    name,
    prefix,
    scopes.join(','),
    last_used_at?.toISOString() ?? 'never',
    stateOf(key),
  ];
}

function stateOf({ revoked_at, expires_at }: ApiKey): string {
  if (revoked_at) return 'revoked';
  if (!expires_at) return 'valid';
  return expires_at.getTime() < Date.now() ? 'expired' : `until ${expires_at.toISOString()}`;
}

const keyId = (text: string) => uuid(text, '"rowhook api-key list" shows the ids');

const ofOne = (group: Command, name: string, description: string) =>
  group.command(name).description(description).argument('<id>', "the key's id", parsed('key id', keyId));

function addRotate(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    ofOne(group, 'rotate', 'give a key a new token, and print it (shown only once)').option(
      '--overlap <interval>',
      'how long the old token also works, 0 to 7 days',
      '24 hours',
    ),
    async (client, id: string, flags: JsonFlag & { overlap: string }) =>
      printToken(id, await (await operations()).rotateKey(client, id, flags.overlap), flags, cli.out),
  );
  help(command, ["rowhook api-key rotate 1f0c… --overlap '1 hour'"]);
}

function addRevoke(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    ofOne(group, 'revoke', 'end a key at once'),
    async (client, id: string, { json }: JsonFlag) => {
      await (await operations()).revokeKey(client, id);
      cli.out.print(json ? JSON.stringify({ id, revoked: true }) : `Key ${id}: revoked.`);
    },
  );
  help(command, ['rowhook api-key revoke 1f0c…']);
}
