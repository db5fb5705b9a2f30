/** `--payload-template`: a text, or `@` and a file. */
import { readFileSync } from 'node:fs';
import { UserError } from '../../shared/user-error.ts';

/** Without the last line break of a file. */
export function templateText(text: string): string {
  if (!text.startsWith('@')) return text;
  const path = text.slice(1);
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UserError(`--payload-template: "${path}" cannot be read (${code}). Check the path.`, 2);
  }
}

/** Refuses a template that the daemon could not read. The database checks only its structure. */
export async function requireTemplate({ payloadTemplate }: { payloadTemplate?: string }): Promise<void> {
  if (!payloadTemplate) return;
  const { templateProblem } = await import('../../operations/webhooks/preview.ts');
  const problem = await templateProblem('cli', payloadTemplate);
  if (problem !== null) throw new UserError(`--payload-template: ${problem}. docs/use/payloads.md has examples.`, 2);
}
