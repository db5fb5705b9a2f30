/** `rowhook completion`: reads the commands and flags of this program. */
import type { Command } from 'commander';
import { oneOf } from '../config/parse.ts';
import { help, out, parsed } from './define.ts';
import { completionScript, type Offer, type Place, SHELLS, type Shell } from './tools/completion.ts';

export function addCompletionCommand(program: Command): void {
  const command = program
    .command('completion')
    .description('print a script that completes commands and flags in your shell')
    .argument('<shell>', 'bash, zsh or fish', parsed('shell', oneOf(SHELLS)))
    .action((shell: Shell) => out.write(completionScript(shell, placesOf(program, ''))));
  help(
    command,
    [
      'source <(rowhook completion bash)      # in ~/.bashrc',
      'source <(rowhook completion zsh)       # in ~/.zshrc, after compinit',
      'rowhook completion fish > ~/.config/fish/completions/rowhook.fish',
    ],
    'The script holds all commands and flags: write it again after an update.',
  );
}

function placesOf(command: Command, at: string): Place[] {
  const shown = command.createHelp();
  const commands = shown
    .visibleCommands(command)
    .map((sub): Offer => ({ word: sub.name(), description: sub.description(), takesValue: false }));
  const flags = shown.visibleOptions(command).map(
    ({ long, description, required, optional }): Offer => ({
      word: long ?? '',
      description,
      takesValue: required || optional,
    }),
  );
  const below = command.commands.flatMap((sub) => placesOf(sub, `${at} ${sub.name()}`));
  return [{ at, offers: [...commands, ...flags] }, ...below];
}
