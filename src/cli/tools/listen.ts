/** `rowhook listen`. It needs no database. */
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Command } from 'commander';
import { wholeNumber } from '../../config/parse.ts';
import { type SignatureCheck, type SigningKey, signingKey, verify } from '../../payload/signature.ts';
import type { Bounds } from '../../shared/bounded-server.ts';
import { untilAskedToStop } from '../../shared/signals.ts';
import { type Out, printable, printableLines } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';
import { type Cli, help, parsed } from '../define.ts';
import { SECRETS_NOTE, secretFlags } from '../secret-flags.ts';
import { indentJson } from './indent-json.ts';

interface ListenOptions {
  host: string;
  port: number;
  secret: string[];
  status: number;
  quiet?: boolean;
  json?: boolean;
}

/** Limit on one body in memory. rowhook sends a few MiB at most. */
const BODY_BYTES_MAX = 32 * 1024 * 1024;

/** A webhook may have 1,000 requests in flight, and an attempt ends after 30 s. */
const BOUNDS: Bounds = { connectionsMax: 1_000, requestMsMax: 30_000 };

export function addListen(program: Command, cli: Cli): void {
  const command = secretFlags(program.command('listen'), cli, [
    {
      flag: '--secret <secret>',
      description: 'verify signatures with this secret; repeatable, for a rotation',
      repeatable: true,
    },
  ])
    .description('receive webhooks on this machine, verify them and print them')
    .option('--port <port>', 'port to listen on; 0 means a free one', parsed('--port', wholeNumber(0, 65_535)), 3000)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--status <status>', 'HTTP status of the answers', parsed('--status', wholeNumber(200, 599)), 200)
    .option('--quiet', 'print one line per request, without the body')
    .option('--json', 'print one JSON object per line, with the body as text')
    .action(async (flags: Omit<ListenOptions, 'secret'> & { secret?: string[] }) => {
      const asked = untilAskedToStop(cli.process, () => cli.process.exit(1));
      const server = await listen({ secret: [], ...flags }, cli.out);
      await asked;
      server.close().closeAllConnections();
    });
  help(
    command,
    [
      'rowhook listen --port 3000 --secret whsec_…',
      'rowhook listen --status 500   # see the retries',
      'rowhook listen --json | jq -r .event',
    ],
    [...SECRETS_NOTE, 'It answers every request with --status, whether the signature is valid or not.'],
  );
}

/** Starts a local receiver, which verifies and prints each request. */
async function listen(options: ListenOptions, out: Out): Promise<Server> {
  const { boundedServer } = await import('../../shared/bounded-server.ts');
  const keys = options.secret.map(signingKey);
  const server = boundedServer(BOUNDS, (request, response) => {
    receive(request, response, options.status)
      .then((body) => body && print(request, body, keys, options, out))
      .catch((error: Error) => out.print(out.paint('red', `a request ended early: ${printable(error.message)}`)));
  });

  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(explain(error, options)));
    server.listen(options.port, options.host, resolve);
  });
  if (!options.json) greet(server, options, out);
  return server;
}

function greet(server: Server, { host, secret }: ListenOptions, out: Out): void {
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${(server.address() as AddressInfo).port}/`;
  out.print(`Listening on ${out.paint('bold', url)}. Stop with Ctrl-C.`);
  if (secret.length === 0) out.print('Signatures are not verified. To verify them, give --secret whsec_….');
  out.print(out.paint('dim', 'To deliver here: rowhook start --allow-http --allow-cidrs 127.0.0.0/8'));
}

function explain(error: NodeJS.ErrnoException, { host, port }: ListenOptions): Error {
  if (error.code === 'EADDRINUSE')
    return new UserError(`port ${port} is in use. Stop the program that uses it, or give another --port.`);
  if (error.code === 'EACCES') return new UserError(`this user may not open port ${port}. Give a --port above 1023.`);
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND') {
    return new UserError(`host "${host}" is not an address of this machine. Use --host 127.0.0.1 or 0.0.0.0.`, 2);
  }
  return error;
}

/** Reads the whole body and answers. */
async function receive(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= BODY_BYTES_MAX) chunks.push(chunk);
  }
  response.writeHead(bytes > BODY_BYTES_MAX ? 413 : status).end();
  return bytes > BODY_BYTES_MAX ? undefined : Buffer.concat(chunks);
}

function print(request: IncomingMessage, body: Buffer, keys: SigningKey[], options: ListenOptions, out: Out): void {
  const { method = '', url: path = '', headers } = request;
  const verdicts = keys.length > 0 ? verify(keys, signedRequest(headers, body), Date.now() / 1000) : undefined;
  const id = text(headers, 'webhook-id');
  const event = text(headers, 'x-webhook-event');
  if (options.json) {
    const received = { received_at: new Date().toISOString(), method, path, id, event, ...verdicts, headers };
    out.print(JSON.stringify({ ...received, body: body.toString('utf8') }));
    return;
  }

  const facts = [
    new Date().toTimeString().slice(0, 8),
    out.paint('bold', printable(event ?? 'no X-Webhook-Event')),
    printable(id ?? 'no webhook-id'),
    `${method} ${printable(path)}`,
    `${body.length} bytes`,
  ];
  if (verdicts) facts.push(shown('standard', verdicts.standard, out), shown('hex', verdicts.hex, out));
  out.print(facts.join('  '));
  if (!options.quiet) out.print(`${printableLines(indentJson(body.toString('utf8')))}\n`);
}

function shown(name: string, verdict: SignatureCheck, out: Out): string {
  return out.paint(verdict === 'valid' ? 'green' : 'red', `${name} signature ${verdict.replace('_', ' ')}`);
}

function signedRequest(headers: IncomingHttpHeaders, body: Buffer) {
  return {
    id: text(headers, 'webhook-id'),
    timestamp: text(headers, 'webhook-timestamp'),
    signature: text(headers, 'webhook-signature'),
    hexSignature: text(headers, 'x-webhook-signature'),
    body,
  };
}

function text(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}
