/**
 * Flags whose value is a secret. Other users of the machine can read a command line with `ps`, and
 * the shell's history keeps it. So each of these flags accepts `-` for stdin, and has a second flag
 * that names a file.
 */
import { open } from 'node:fs/promises';
import type { Command, Option } from 'commander';
import { UserError } from '../shared/user-error.ts';
import { type Cli, collect } from './define.ts';

export const SECRETS_NOTE = [
  "Other users can read a secret on the command line with ps, and your shell's history keeps it. Use - to read it from",
  'stdin, or use the -file flag.',
];

export interface SecretFlag {
  /** In commander's form: `--bearer <token>`. */
  readonly flag: string;
  readonly description: string;
  readonly repeatable?: true;
  readonly required?: true;
}

interface Source {
  readonly flag: SecretFlag;
  readonly value: Option;
  readonly file: Option;
}

/** More than any secret needs, and more than all headers of a webhook. */
const SECRET_BYTES_MAX = 65_536;

/** Adds each flag and its -file flag. `stdinIsTaken`: what else reads stdin. */
export function secretFlags(
  command: Command,
  { process }: Cli,
  flags: readonly SecretFlag[],
  stdinIsTaken?: string,
): Command {
  const sources = flags.map((flag): Source => {
    const stdin = stdinIsTaken ? '' : '; - reads it from stdin';
    const value = command.createOption(flag.flag, `${flag.description}${stdin}`);
    const file = command.createOption(`${value.long}-file <path>`, `read ${value.long} from a file`);
    if (flag.repeatable) for (const option of [value, file]) option.argParser(collect);
    command.addOption(value).addOption(file);
    return { flag, value, file };
  });
  return command.hook('preAction', async (_, running) => {
    let stdinBy: string | undefined;
    const fromStdin = async (name: string) => {
      if (stdinIsTaken)
        throw new UserError(`${name}: "-" cannot be used, because ${stdinIsTaken}. Use ${name}-file.`, 2);
      if (stdinBy) throw new UserError(`${name}: stdin was already read for ${stdinBy}. Use ${name}-file.`, 2);
      stdinBy = name;
      if (process.stdin.isTTY) process.stderr.write(`Type the value of ${name}, then press Enter and Ctrl-D.\n`);
      return readSecret(name, process.stdin);
    };
    for (const source of sources) await resolve(running, source, fromStdin);
  });
}

/** Stores the values of stdin and files where commander would have stored them. */
async function resolve(running: Command, { flag, value, file }: Source, fromStdin: (name: string) => Promise<string>) {
  const name = value.long ?? '';
  const [given, files] = [value, file].map((option) => {
    const text = running.getOptionValue(option.attributeName()) as string | string[] | undefined;
    return text === undefined ? [] : [text].flat();
  }) as [string[], string[]];
  const secrets: string[] = [];
  for (const text of given) secrets.push(text === '-' ? await fromStdin(name) : text);
  for (const path of files) secrets.push(await fromFile(name, path));
  if (secrets.length > 1 && !flag.repeatable) throw new UserError(`give ${name} or ${name}-file, and only once.`, 2);
  if (secrets.length > 0) running.setOptionValue(value.attributeName(), flag.repeatable ? secrets : secrets[0]);
  else if (flag.required) throw new UserError(`${running.name()}: give ${flag.flag} or ${name}-file.`, 2);
}

async function fromFile(name: string, path: string): Promise<string> {
  const shown = `${name}-file`;
  const handle = await open(path).catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`${shown}: "${path}" cannot be read (${error.code}). Check the path and its permissions.`, 2);
  });
  // The stream closes the file.
  return readSecret(shown, handle.createReadStream());
}

/** Reads to the end, without the final newline and the byte order mark that editors add. */
async function readSecret(name: string, stream: AsyncIterable<Buffer | string>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of stream) {
      chunks.push(Buffer.from(chunk));
      bytes += chunk.length;
      if (bytes > SECRET_BYTES_MAX) throw new UserError(`${name}: is longer than ${SECRET_BYTES_MAX} bytes.`, 2);
    }
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`${name}: cannot be read (${(error as NodeJS.ErrnoException).code}).`, 2);
  }
  const secret = textOf(name, Buffer.concat(chunks)).replace(/\r?\n$/, '');
  if (secret === '') throw new UserError(`${name}: is empty.`, 2);
  return secret;
}

/** PowerShell writes UTF-16. Read as UTF-8, it would become a different secret. */
function textOf(name: string, bytes: Buffer): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (!text.includes('\0')) return text;
  } catch {}
  throw new UserError(`${name}: is not UTF-8 text. Save it as UTF-8.`, 2);
}
