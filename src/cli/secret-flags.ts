/**
 * Flags whose value is a secret. Whatever stands on a command line is in `ps` for everybody on the machine, and in the
 * shell's history. So each of these flags takes - for stdin, and has a twin that names a file.
 */
import { open } from 'node:fs/promises';
import type { Command, Option } from 'commander';
import { UserError } from '../shared/user-error.ts';
import { collect } from './define.ts';

export const SECRETS_NOTE =
  "A secret on the command line can be read in ps and in your shell's history: give - to read it from stdin, or a file.";

export interface SecretFlag {
  /** As commander takes it: `--bearer <token>`. */
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

/** More than any secret, and than all headers of a webhook. */
const SECRET_BYTES_MAX = 65_536;

/** Adds the flags with their twins. `stdinIsTaken` says what else stdin is for. */
export function secretFlags(command: Command, flags: readonly SecretFlag[], stdinIsTaken?: string): Command {
  const sources = flags.map((flag): Source => {
    const stdin = stdinIsTaken ? '' : '; - for stdin';
    const value = command.createOption(flag.flag, `${flag.description}${stdin}`);
    const file = command.createOption(`${value.long}-file <path>`, 'the same from a file');
    if (flag.repeatable) for (const option of [value, file]) option.argParser(collect);
    command.addOption(value).addOption(file);
    return { flag, value, file };
  });
  return command.hook('preAction', async (_, running) => {
    let stdinBy: string | undefined;
    const fromStdin = async (name: string) => {
      if (stdinIsTaken) throw new UserError(`${name}: - is refused: ${stdinIsTaken}. Give ${name}-file.`, 2);
      if (stdinBy) throw new UserError(`${name}: stdin was read for ${stdinBy} already: give ${name}-file.`, 2);
      stdinBy = name;
      if (process.stdin.isTTY)
        process.stderr.write(`Reading ${name} from the terminal: end it with Enter and Ctrl-D.\n`);
      return readSecret(name, process.stdin);
    };
    for (const source of sources) await resolve(running, source, fromStdin);
  });
}

/** Puts what stdin and files hold where commander would have put the value. */
async function resolve(running: Command, { flag, value, file }: Source, fromStdin: (name: string) => Promise<string>) {
  const name = value.long ?? '';
  const [given, files] = [value, file].map((option) => {
    const text = running.getOptionValue(option.attributeName()) as string | string[] | undefined;
    return text === undefined ? [] : [text].flat();
  }) as [string[], string[]];
  const secrets: string[] = [];
  for (const text of given) secrets.push(text === '-' ? await fromStdin(name) : text);
  for (const path of files) secrets.push(await fromFile(name, path));
  if (secrets.length > 1 && !flag.repeatable) throw new UserError(`give either ${name} or ${name}-file, once.`, 2);
  if (secrets.length > 0) running.setOptionValue(value.attributeName(), flag.repeatable ? secrets : secrets[0]);
  else if (flag.required) throw new UserError(`${running.name()}: give ${flag.flag} or ${name}-file.`, 2);
}

async function fromFile(name: string, path: string): Promise<string> {
  const shown = `${name}-file`;
  const handle = await open(path).catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`${shown}: "${path}" cannot be read (${error.code}): check the path and its permissions.`, 2);
  });
  // the stream closes it
  return readSecret(shown, handle.createReadStream());
}

/** Everything up to the end, without the newline and the byte order mark that editors put there. */
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

/** PowerShell writes UTF-16: its halves of characters would be a secret that nobody has. */
function textOf(name: string, bytes: Buffer): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (!text.includes('\0')) return text;
  } catch {}
  throw new UserError(`${name}: is not text in UTF-8: save it as UTF-8.`, 2);
}
