/** Names the command or the flag that a misspelt word probably means. */
import type { Command } from 'commander';
import { nearNames } from '../shared/spelling.ts';

/** Words of other programs, and the names that they have here. A group has one of them at most. */
const SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  add: ['create'],
  new: ['create'],
  ls: ['list'],
  get: ['show'],
  info: ['show'],
  describe: ['show'],
  edit: ['update'],
  change: ['update'],
  set: ['update'],
  rm: ['delete', 'revoke'],
  remove: ['delete', 'revoke'],
  delete: ['revoke'],
  pause: ['disable'],
  resume: ['enable'],
  regenerate: ['rotate-secret', 'rotate'],
  ping: ['test'],
  init: ['migrate'],
  install: ['migrate'],
  run: ['start'],
  daemon: ['start'],
  server: ['serve'],
  api: ['serve'],
  tail: ['logs'],
  check: ['doctor'],
  retry: ['replay'],
  resend: ['replay'],
};

/** A shorter beginning of a name fits too many names. */
const BEGINNING_MIN = 3;

/** For each group of commands: an unknown command names the command that it may mean. */
export function suggestCommands(group: Command): void {
  for (const command of group.commands) if (command.commands.length > 0) suggestCommands(command);
  group.on('command:*', ([word = '']: string[]) => {
    const found = commandsLike(word, group);
    const names = found.length > 1 ? `one of ${found.join(', ')}` : found[0];
    const hint = names === undefined ? '' : `\n(Did you mean ${names}?)`;
    group.error(`error: unknown command '${word}'${hint}`, { code: 'commander.unknownCommand' });
  });
}

function commandsLike(word: string, group: Command): string[] {
  const names = group.commands.map((command) => command.name());
  const same = (SYNONYMS[word] ?? []).filter((name) => names.includes(name));
  // "rowhook rotate-secret" lacks the name of its group.
  const inside = group.commands
    .filter((command) => command.commands.some((each) => each.name() === word))
    .map((command) => `${command.name()} ${word}`);
  if (same.length + inside.length > 0) return [...same, ...inside];
  const parts = names.filter(
    (name) => word.length >= BEGINNING_MIN && (name.startsWith(word) || name.split('-').includes(word)),
  );
  return parts.length > 0 ? parts : nearNames(word, names);
}

/**
 * Commander checks the required flags first. So "--event" instead of the required "--events" is an
 * error about a missing flag. The sentence with the misspelt flag, or as it was.
 */
export function namingMisspeltFlag(sentence: string, args: readonly string[]): string {
  const [, required = ''] = /^error: required option '(--[a-z-]+)/.exec(sentence) ?? [];
  if (required === '') return sentence;
  const given = args.map((argument) => argument.split('=', 1)[0] ?? '').filter((argument) => argument.startsWith('--'));
  const [misspelt] = given.filter((flag) => flag !== required && nearNames(flag, [required]).length > 0);
  if (misspelt === undefined) return sentence;
  return `${sentence.trimEnd()}\n(Did you mean ${required} instead of ${misspelt}?)\n`;
}
