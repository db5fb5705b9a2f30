/** `rowhook verify`. It needs no database. */
import type { Command } from 'commander';
import { wholeNumber } from '../../config/parse.ts';
import {
  type SignatureCheck,
  type SignedRequest,
  signingKey,
  verify as verifyRequest,
} from '../../payload/signature.ts';
import type { Out } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';
import { type Cli, type CliProcess, help, parsed } from '../define.ts';
import { secretFlags } from '../secret-flags.ts';

interface VerifyOptions {
  secret: string[];
  signature: string;
  id?: string;
  timestamp?: string;
  /** Infinity by default, because a saved request is usually older than five minutes. */
  toleranceSeconds: number;
  json?: boolean;
}

const REASONS: Readonly<Record<Exclude<SignatureCheck, 'valid'>, string>> = {
  missing: 'is missing: give --id, --timestamp and --signature as you received them',
  malformed: 'is malformed: give it as you received it, such as v1,… or 64 hex digits',
  mismatch: 'does not match: the secret, the id, the timestamp or a byte of the body is different',
  too_old: 'matches, but the timestamp is older than --tolerance allows',
  too_new: 'matches, but the timestamp is further in the future than --tolerance allows',
};

export function addVerify(program: Command, cli: Cli): void {
  const command = secretFlags(
    program.command('verify'),
    cli,
    [{ flag: '--secret <secret>', description: 'the signing secret; repeatable', repeatable: true, required: true }],
    'the body is read from stdin',
  )
    .description('verify a saved request; its body is read from stdin')
    .requiredOption('--signature <signature>', 'webhook-signature (v1,…), or X-Webhook-Signature (64 hex digits)')
    .option('--id <id>', 'webhook-id; not needed for the hex signature')
    .option('--timestamp <seconds>', 'webhook-timestamp; not needed for the hex signature')
    .option(
      '--tolerance <seconds>',
      'largest accepted age of the request (default: any age)',
      parsed('--tolerance', wholeNumber(0, 1e9)),
    )
    .option('--json', 'print the result as JSON')
    .action(async ({ tolerance, ...options }: Omit<VerifyOptions, 'toleranceSeconds'> & { tolerance?: number }) => {
      const body = await readBody(cli.process.stdin);
      const toleranceSeconds = tolerance ?? Number.POSITIVE_INFINITY;
      cli.process.exitCode = verify({ ...options, toleranceSeconds }, body, Date.now() / 1000, cli.out);
    });
  help(
    command,
    [
      'rowhook verify --secret-file secret.txt --id evt_… --timestamp 1760729400 --signature v1,… < body.json',
      'rowhook verify --secret whsec_… --signature 5d5e… < body.json',
    ],
    "Other users can read a secret on the command line with ps, and your shell's history keeps it. Use --secret-file.",
    'Exit codes: 0 valid, 1 not valid, 2 wrong usage.',
  );
}

/** Returns the exit code. */
function verify(options: VerifyOptions, body: Buffer, nowSeconds: number, out: Out): number {
  const verdict = check(options, body, nowSeconds);
  if (options.json) {
    out.print(JSON.stringify({ verdict }));
    return verdict === 'valid' ? 0 : 1;
  }
  if (verdict === 'valid') {
    out.print(`The signature is ${out.paint('green', 'valid')}${age(options.timestamp, nowSeconds)}.`);
    return 0;
  }
  // Editors and echo add a newline at the end of a file.
  const withoutNewline = body.subarray(0, body.at(-1) === 0x0a ? -1 : body.length);
  const newline = verdict === 'mismatch' && check(options, withoutNewline, nowSeconds) === 'valid';
  const remedy = newline
    ? 'does not match, but it matches without the newline at the end of the saved body'
    : REASONS[verdict];
  throw new UserError(`the signature ${remedy}.`, verdict === 'missing' ? 2 : 1);
}

function check(options: VerifyOptions, body: Buffer, nowSeconds: number): SignatureCheck {
  const { secret, signature, id, timestamp, toleranceSeconds } = options;
  const isHex = !signature.includes(',');
  const request: SignedRequest = { id, timestamp, body, ...(isHex ? { hexSignature: signature } : { signature }) };
  const verdicts = verifyRequest(secret.map(signingKey), request, nowSeconds, toleranceSeconds);
  return isHex ? verdicts.hex : verdicts.standard;
}

function age(timestamp: string | undefined, nowSeconds: number): string {
  if (timestamp === undefined) return '';
  const seconds = Math.round(nowSeconds - Number(timestamp));
  return `, and the request was signed ${Math.abs(seconds)} seconds ${seconds < 0 ? 'in the future' : 'ago'}`;
}

async function readBody(stdin: CliProcess['stdin']): Promise<Buffer> {
  if (stdin.isTTY) throw new UserError('verify: the body is read from stdin. Add "< body.json".', 2);
  const chunks: Buffer[] = [];
  for await (const chunk of stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
