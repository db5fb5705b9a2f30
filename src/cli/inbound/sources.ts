/** `rowhook inbound source`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { cidrs, oneOf } from '../../config/parse.ts';
import { VERIFICATIONS, type Verification } from '../../inbound/source.ts';
import { type Out, printPairs, printTable } from '../../shared/terminal.ts';
import { type Cli, help, LIMIT_MAX, onDatabase, parsed } from '../define.ts';

const operations = () => import('../../operations/inbound/sources.ts');

interface JsonFlag {
  json?: boolean;
}

export function addSources(group: Command, cli: Cli): void {
  const source = group.command('source').description('senders that sign their requests');
  source.helpCommand(false);
  addCreate(source, cli);
  addList(source, cli);
  addRotate(source, cli);
  addDelete(source, cli);
  help(source, ['rowhook inbound source create --tenant acme --name github --verification github']);
}

interface CreateFlags extends JsonFlag {
  tenant: string;
  name: string;
  verification: Verification;
  secret?: string;
  signatureHeader?: string;
  signatureAlgorithm?: string;
  signatureEncoding?: string;
  eventName?: string;
  eventPath?: string;
  eventHeader?: string;
  allowedIps?: string[];
}

function addCreate(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    group
      .command('create')
      .description('create a source, and print its address and its secret (shown only once)')
      .requiredOption('--tenant <tenant>', 'tenant that receives the events (required)')
      .requiredOption('--name <name>', 'name of the source (required)')
      .requiredOption(
        '--verification <kind>',
        `${VERIFICATIONS.join(', ')} (required)`,
        parsed('--verification', oneOf(VERIFICATIONS)),
      )
      .option('--secret <secret>', 'the secret that the sender chose; visible to others in ps (default: a new one)')
      .option('--signature-header <name>', 'header of the signature, or of the key')
      .option('--signature-algorithm <name>', 'with hmac: sha256, sha512 or sha1')
      .option('--signature-encoding <name>', 'with hmac: hex or base64')
      .option('--event-name <name>', 'name of all its events')
      .option('--event-path <path>', 'where the body names its event, such as data.type')
      .option('--event-header <name>', 'header that names the event')
      .option('--allowed-ips <list>', 'only from these IP ranges', parsed('--allowed-ips', cidrs)),
    (client, flags: CreateFlags) => createSource(client, flags, cli.out),
  );
  help(command, ['rowhook inbound source create --tenant acme --name shop --verification shopify --json']);
}

async function createSource(client: pg.Client, flags: CreateFlags, out: Out): Promise<void> {
  const { name, verification } = flags;
  const fields = {
    ...{ name, verification, allowed_ips: flags.allowedIps },
    signature_header: flags.signatureHeader,
    signature_algorithm: flags.signatureAlgorithm,
    signature_encoding: flags.signatureEncoding,
    event_name: flags.eventName,
    event_path: flags.eventPath,
    event_header: flags.eventHeader,
  };
  const made = await (await operations()).createSource(client, flags.tenant, fields, flags.secret);
  printSecret(made.source.id, made.secret, flags, out);
}

function printSecret(id: string, secret: string, { json }: JsonFlag, out: Out): void {
  const path = `/api/v1/webhooks/receive/${id}`;
  if (json) {
    out.print(JSON.stringify({ id, path, secret }));
    return;
  }
  printPairs(out, [
    ['source', { text: id, style: 'bold' }],
    ['address', path],
    ['secret', { text: secret, style: 'bold' }],
  ]);
  out.print('\nSave the secret now. It is not shown again.');
}

function addList(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    group.command('list').description('list sources, newest first').option('--tenant <tenant>', 'only this tenant'),
    (client, flags: JsonFlag & { tenant?: string }) => listSources(client, flags, cli.out),
  );
  help(command, ['rowhook inbound source list --tenant acme']);
}

async function listSources(client: pg.Client, { tenant, json }: JsonFlag & { tenant?: string }, out: Out) {
  const sources = await (await operations()).listSources(client, tenant, LIMIT_MAX);
  if (json) {
    for (const { created_us: _, ...source } of sources) out.print(JSON.stringify(source));
  } else if (sources.length === 0) {
    out.print('No inbound sources. Create one with "rowhook inbound source create".');
  } else {
    const rows = sources.map(({ id, tenant_id, name, verification }) => [id, tenant_id, name, verification]);
    printTable(out, ['id', 'tenant', 'name', 'verification'], rows);
  }
}

const ofOne = (group: Command, name: string, description: string) =>
  group.command(name).description(description).argument('<id>', "the source's id, src_…");

function addRotate(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    ofOne(group, 'rotate-secret', 'give a source a new secret, and print it (shown only once)')
      .option('--overlap <interval>', 'how long the old secret is accepted', '24 hours')
      .option('--secret <secret>', 'the secret that the sender chose; visible to others in ps (default: a new one)'),
    async (client, id: string, flags: JsonFlag & { overlap: string; secret?: string }) => {
      const made = await (await operations()).rotateSource(client, id, flags.overlap, flags.secret);
      printSecret(made.source.id, made.secret, flags, cli.out);
    },
  );
  help(command, ["rowhook inbound source rotate-secret src_… --overlap '1 hour'"]);
}

function addDelete(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    ofOne(group, 'delete', 'remove a source: its address answers 410 from now on'),
    async (client, id: string, { json }: JsonFlag) => {
      await (await operations()).removeSource(client, id);
      cli.out.print(json ? JSON.stringify({ id, deleted: true }) : `Source ${id}: deleted.`);
    },
  );
  help(command, ['rowhook inbound source delete src_…']);
}
