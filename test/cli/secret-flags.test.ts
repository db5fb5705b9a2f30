// Secrets that come from stdin or a file, so that neither ps nor a shell's history has them.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hexSignature, signingKey } from '../../src/payload/signature.ts';
import { type CliOptions, rowhook, startRowhook } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitUntil } from '../support/wait.ts';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const given = ['webhook', 'create', '--tenant', 't', '--name', 'n', '--url', 'https://example.com/', '--events', '*'];

let database: TestDatabase;
let folder: string;
const file = (name: string) => join(folder, name);
const cli = (args: string[], options: CliOptions = {}) =>
  rowhook(args, { ...options, env: { DATABASE_URL: database.url } });

beforeAll(async () => {
  database = await createDatabase();
  folder = await mkdtemp(join(tmpdir(), 'rowhook-secrets-'));
  await writeFile(file('secret'), `${SECRET}\n`);
  await writeFile(file('header'), '\uFEFFX-Key: from a file\r\n'); // as an editor on Windows saves it
  await writeFile(file('utf16'), Buffer.from('\uFEFFsecret\r\n', 'utf16le'));
  await writeFile(file('empty'), '\n');
});

afterAll(async () => {
  await rm(folder, { recursive: true });
  await database.drop();
});

async function created(flags: string[], stdin: string): Promise<Record<string, unknown> | undefined> {
  const { stdout, stderr } = await cli([...given, ...flags, '--json'], { stdin });
  expect(stderr).toBe('');
  const [row] = await database.query(
    'select secret, headers, auth_config from rowhook.webhook_configurations where id = $1',
    [JSON.parse(stdout).id],
  );
  return row;
}

test('webhook create and update read each secret from stdin or a file, without its last newline', async () => {
  const flags = ['--secret-file', file('secret'), '--header', 'X-Team: ops', '--header-file', file('header')];
  const expected = { secret: SECRET, headers: { 'X-Team': 'ops', 'X-Key': 'from a file' } };
  expect(await created([...flags, '--bearer', '-'], 'to ken\n')).toEqual({
    ...expected,
    auth_config: { token: 'to ken' },
  });
  const basic = await created([...flags, '--basic', '-'], 'me:pa:ss');
  expect(basic).toEqual({ ...expected, auth_config: { username: 'me', password: 'pa:ss' } });
  const [webhook] = await database.query<{ id: string }>('select id from rowhook.webhook_configurations limit 1');
  const update = await cli(['webhook', 'update', webhook?.id ?? '', '--api-key', '-'], { stdin: 'X-Other: a: b\n' });
  expect(update.stdout).toContain('updated auth_type, auth_config');
  const [row] = await database.query('select auth_config from rowhook.webhook_configurations where id = $1', [
    webhook?.id,
  ]);
  expect(row).toEqual({ auth_config: { header_name: 'X-Other', header_value: 'a: b' } });
});

test.each([
  [['--bearer', '-', '--secret', '-'], 'x', '--secret: stdin was already read for --bearer. Use --secret-file.'],
  [['--bearer', '-'], '\n', '--bearer: is empty.'],
  [['--bearer', '-'], 'x'.repeat(70_000), '--bearer: is longer than 65536 bytes.'],
  [['--secret-file', 'FOLDER/utf16'], '', '--secret-file: is not UTF-8 text. Save it as UTF-8.'],
  [['--bearer', '-'], 'to\0ken', '--bearer: is not UTF-8 text. Save it as UTF-8.'],
  [['--secret-file', 'FOLDER/empty'], '', '--secret-file: is empty.'],
  [['--secret-file', 'FOLDER/none'], '', '--secret-file: "FOLDER/none" cannot be read (ENOENT). Check the path'],
  [['--secret-file', 'FOLDER'], '', '--secret-file: cannot be read (EISDIR).'],
  [['--bearer', 'x', '--bearer-file', 'FOLDER/secret'], '', 'give --bearer or --bearer-file, and only once.'],
  [
    ['--bearer-file', 'FOLDER/secret', '--basic', '-'],
    'a:b',
    'give only one of --bearer, --basic, --api-key and --no-auth',
  ],
])('%j is refused', async (flags, stdin, sentence) => {
  const here = (text: string) => text.replace('FOLDER', folder);
  const { code, stderr } = await cli([...given, ...flags.map(here)], { stdin });
  expect(stderr).toContain(`rowhook: ${here(sentence)}`);
  expect(code).toBe(2);
});

test('verify and listen take theirs from a file, and listen from stdin, which is the body of verify', async () => {
  const verify = ['verify', '--signature', hexSignature(signingKey(SECRET), 'body')];
  const valid = { code: 0, stdout: 'The signature is valid.\n' };
  expect(await rowhook([...verify, '--secret-file', file('secret')], { stdin: 'body' })).toMatchObject(valid);
  expect((await rowhook([...verify, '--secret', '-'], { stdin: 'body' })).stderr).toContain(
    '--secret: "-" cannot be used, because the body is read from stdin. Use --secret-file.',
  );
  expect(await rowhook(verify)).toMatchObject({
    code: 2,
    stderr: 'rowhook: verify: give --secret <secret> or --secret-file.\n',
  });
  const listening = startRowhook(['listen', '--port', '0', '--secret', '-'], { stdin: SECRET });
  await waitUntil('it listens', () => listening.stdout().includes('To deliver here'));
  expect(listening.stdout()).not.toContain('not verified');
  listening.process.kill('SIGINT');
  await listening.ended;
});

test("a superuser's commands keep secrets out of a server log that has the parameters of all statements", async () => {
  const [server] = await database.query<{ folder: string }>("select current_setting('data_directory') as folder");
  const log = join(server?.folder ?? '', 'server.log');
  if (process.env.ROWHOOK_TEST_DATABASE_URL) return;
  await database.query(`alter database ${database.name} set log_statement = 'all'`);
  await database.query(`alter database ${database.name} set log_parameter_max_length_on_error = -1`);
  await cli([...given, '--bearer', '-'], { stdin: 'unlogged-token' });
  await cli([...given, '--bearer', '-', '--retry-attempts', '99'], { stdin: 'unlogged-token' });
  const text = await readFile(log, 'utf8');
  expect(text).toMatch(/insert into rowhook\.webhook_configurations/);
  expect(text).not.toContain('unlogged-token');
});
