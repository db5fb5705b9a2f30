/**
 * `rowhook completion`: scripts that complete the commands and flags of this program. A script
 * contains the whole tree of commands and flags, so that Tab does not start Node. It follows the
 * words before the cursor down the tree and offers the entries of that place.
 */
import type { Command } from 'commander';
import { oneOf } from '../../config/parse.ts';
import { quoted } from '../../shared/shell-quote.ts';
import { type Cli, help, parsed } from '../define.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/** One place in the tree of commands. */
interface Place {
  /** The words that lead to this place, each after a space: '' or ' webhook create'. */
  at: string;
  offers: readonly Offer[];
}

interface Offer {
  /** A command, or a flag with its dashes. */
  word: string;
  description: string;
  /** True for a flag that a value follows. */
  takesValue: boolean;
}

export function addCompletion(program: Command, cli: Cli): void {
  const command = program
    .command('completion')
    .description('print a script that completes commands and flags in your shell')
    .argument('<shell>', 'bash, zsh or fish', parsed('shell', oneOf(SHELLS)))
    .action((shell: Shell) => cli.out.write(completionScript(shell, placesOf(program, ''))));
  help(
    command,
    [
      'source <(rowhook completion bash)      # in ~/.bashrc',
      'source <(rowhook completion zsh)       # in ~/.zshrc, after compinit',
      'rowhook completion fish > ~/.config/fish/completions/rowhook.fish',
    ],
    'The script contains all commands and flags. Print it again after an update of rowhook.',
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

/** Pure. */
function completionScript(shell: Shell, places: readonly Place[]): string {
  return { bash, zsh, fish }[shell](places);
}

function bash(places: readonly Place[]): string {
  const words = ({ at, offers }: Place) =>
    `    ${quoted(at)}) offers=${quoted(offers.map(({ word }) => word).join(' '))} ;;`;
  return `# rowhook, for bash: source <(rowhook completion bash)
_rowhook() {
  local at='' offers='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at \${COMP_WORDS[i]}" in
      ${patterns(places, '|')}) at="$at \${COMP_WORDS[i]}" ;;
    esac
  done
  case "$at" in
${places.map(words).join('\n')}
  esac
  COMPREPLY=($(compgen -W "$offers" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _rowhook rowhook
`;
}

function zsh(places: readonly Place[]): string {
  const described = ({ word, description }: Offer) => quoted(`${word}:${description}`);
  return `#compdef rowhook
# rowhook, for zsh, after compinit: source <(rowhook completion zsh)
_rowhook() {
  local at='' word
  local -a offers
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at $word" in
      ${patterns(places, '|')}) at="$at $word" ;;
    esac
  done
  case "$at" in
${places.map(({ at, offers }) => `    ${quoted(at)}) offers=(${offers.map(described).join(' ')}) ;;`).join('\n')}
  esac
  _describe rowhook offers || _files
}
compdef _rowhook rowhook
`;
}

function fish(places: readonly Place[]): string {
  const line = (at: string, { word, description, takesValue }: Offer) => {
    const offer = word.startsWith('--') ? `-l ${word.slice(2)}${takesValue ? ' -r' : ''}` : `-a ${word}`;
    return `complete -c rowhook -n "__rowhook_at '${at}'" ${offer} -d ${fishQuoted(description)}`;
  };
  return `# rowhook, for fish: rowhook completion fish > ~/.config/fish/completions/rowhook.fish
function __rowhook_at
  set -l at ''
  for word in (commandline -opc)[2..-1]
    switch "$at $word"
      case ${patterns(places, ' ')}
        set at "$at $word"
    end
  end
  test "$at" = "$argv[1]"
end
complete -c rowhook -f
${places.flatMap(({ at, offers }) => offers.map((offer) => line(at, offer))).join('\n')}
`;
}

/** Every place except the root. */
function patterns(places: readonly Place[], separator: string): string {
  const below = places.filter(({ at }) => at !== '');
  return below.map(({ at }) => quoted(at)).join(separator);
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll(/[\\']/g, '\\$&')}'`;
}
