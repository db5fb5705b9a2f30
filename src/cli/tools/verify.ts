/** `rowhook verify`: needs no database. */
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
import { help, out, parsed } from '../define.ts';
import { secretFlags } from '../secret-flags.ts';

interface VerifyOptions {
  secret: string[];
  signature: string;
  id?: string;
  timestamp?: string;
  /** A saved request is older than the five minutes that a receiver allows: its age counts only when asked for. */
  toleranceSeconds: number;
  json?: boolean;
}

const REASONS: Readonly<Record<Exclude<SignatureCheck, 'valid'>, string>> = {
  missing: 'is not there: give --id, --timestamp and --signature as they were received',
  malformed: 'is malformed: give it as it was received, such as v1,… or 64 hex digits',
  mismatch: 'does not match: the secret, the id, the timestamp or a byte of the body differs',
  too_old: 'matches, but the timestamp is older than --tolerance allows',
  too_new: 'matches, but the timestamp is further ahead than --tolerance allows',
};

export function addVerify(program: Command): void {
  const command = secretFlags(
    program.command('verify'),
    [{ flag: '--secret <secret>', description: 'the signing secret; repeatable', repeatable: true, required: true }],
    'the body is read from stdin',
  )
    .description('verify a saved request, its body on stdin')
    .requiredOption('--signature <signature>', 'webhook-signature (v1,…), or X-Webhook-Signature (64 hex digits)')
    .option('--id <id>', 'webhook-id; not for the hex signature')
    .option('--timestamp <seconds>', 'webhook-timestamp; not for the hex signature')
    .option(
      '--tolerance <seconds>',
      'refuse a request older than this (default: any age)',
      parsed('--tolerance', wholeNumber(0, 1e9)),
    )
    .option('--json', 'print the verdict as JSON')
    .action(async ({ tolerance, ...options }: Omit<VerifyOptions, 'toleranceSeconds'> & { tolerance?: number }) => {
      const body = await readBody(process.stdin);
      const toleranceSeconds = tolerance ?? Number.POSITIVE_INFINITY;
      process.exitCode = verify({ ...options, toleranceSeconds }, body, Date.now() / 1000, out);
    });
  help(
    command,
    [
      'rowhook verify --secret-file secret.txt --id evt_… --timestamp 1760729400 --signature v1,… < body.json',
      'rowhook verify --secret whsec_… --signature 5d5e… < body.json',
    ],
    "A secret on the command line can be read in ps and in your shell's history: give a file.",
    'Exit codes: 0 valid, 1 not valid, 2 wrong usage.',
  );
}

/** Verifies a saved request, whose body comes byte for byte. Resolves to the exit code. */
function verify(options: VerifyOptions, body: Buffer, nowSeconds: number, out: Out): number {
  const verdict = judge(options, body, nowSeconds);
  if (options.json) {
    out.print(JSON.stringify({ verdict }));
    return verdict === 'valid' ? 0 : 1;
  }
  if (verdict === 'valid') {
    out.print(`The signature is ${out.paint('green', 'valid')}${age(options.timestamp, nowSeconds)}.`);
    return 0;
  }
  // Editors and echo end a file with a newline that was never sent.
  const withoutNewline = body.subarray(0, body.at(-1) === 0x0a ? -1 : body.length);
  const newline = verdict === 'mismatch' && judge(options, withoutNewline, nowSeconds) === 'valid';
  const remedy = newline
    ? 'does not match, but does without the newline that the saved body ends with'
    : REASONS[verdict];
  throw new UserError(`the signature ${remedy}.`, verdict === 'missing' ? 2 : 1);
}

function judge(options: VerifyOptions, body: Buffer, nowSeconds: number): SignatureCheck {
  const { secret, signature, id, timestamp, toleranceSeconds } = options;
  const isHex = !signature.includes(',');
  const request: SignedRequest = { id, timestamp, body, ...(isHex ? { hexSignature: signature } : { signature }) };
  const verdicts = verifyRequest(secret.map(signingKey), request, nowSeconds, toleranceSeconds);
  return isHex ? verdicts.hex : verdicts.standard;
}

function age(timestamp: string | undefined, nowSeconds: number): string {
  if (timestamp === undefined) return '';
  const seconds = Math.round(nowSeconds - Number(timestamp));
  return `, of a request made ${Math.abs(seconds)} seconds ${seconds < 0 ? 'ahead of now' : 'ago'}`;
}

/** Everything on stdin. */
async function readBody(stdin: NodeJS.ReadStream): Promise<Buffer> {
  if (stdin.isTTY) throw new UserError('verify: the body comes on stdin: add "< body.json".', 2);
  const chunks: Buffer[] = [];
  for await (const chunk of stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
