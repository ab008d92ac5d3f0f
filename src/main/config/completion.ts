import type { SHELLS } from './command-completion.ts';

/** What a shell completes: a command's name (empty for serving), what it is, and its flags. */
export interface CompletedCommand {
  readonly name: string;
  readonly help: string;
  readonly flags: readonly CompletedFlag[];
  /** Words that may be its first operand; empty where that is a file or the like. */
  readonly words: readonly string[];
}

interface CompletedFlag {
  /** With its dashes. */
  readonly name: string;
  readonly help: string;
  readonly takesValue: boolean;
  /** Whether its value may be left out: `--insecure`, `--insecure=false`. */
  readonly mayLack: boolean;
  /** The words that it takes, if they are few. */
  readonly values: readonly string[];
  /** Whether it takes a path. */
  readonly isPath: boolean;
}

/** The script for a shell. */
export function completionScript(
  shell: (typeof SHELLS)[number],
  commands: readonly CompletedCommand[],
): string {
  return { bash, zsh, fish }[shell](commands);
}

function namesOf(commands: readonly CompletedCommand[]): string {
  return commands
    .map(({ name }) => name)
    .filter((name) => name !== '')
    .join(' ');
}

function bash(commands: readonly CompletedCommand[]): string {
  const cases = commands.map(({ name, flags, words }) => {
    const all = [...flags.map((flag) => flag.name), ...words].join(' ');
    return `    ${name === '' ? '""' : name}) all="${all}" ;;`;
  });
  const valued = commands
    .flatMap(({ flags }) => flags)
    .filter(({ takesValue, mayLack }) => takesValue && !mayLack);
  const byName = new Map(valued.map((flag) => [flag.name, flag]));
  const values = [...byName.values()].map(({ name, values: words, isPath }) => {
    const reply = isPath ? 'compgen -f -- "$word"' : `compgen -W "${words.join(' ')}" -- "$word"`;
    return `    ${name}) mapfile -t COMPREPLY < <(${reply}); return ;;`;
  });
  return `# bash completion for netsy
_netsy() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD - 1]}" command="" one all=""
  for one in "\${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
    case " ${namesOf(commands)} " in *" $one "*) command="$one"; break ;; esac
  done
  case "$before" in
${values.join('\n')}
  esac
  case "$command" in
${cases.join('\n')}
  esac
  [ -n "$command" ] || all="$all ${namesOf(commands)}"
  mapfile -t COMPREPLY < <(compgen -W "$all" -- "$word")
  if [ \${#COMPREPLY[@]} -eq 0 ] && [ -n "$command" ]; then mapfile -t COMPREPLY < <(compgen -f -- "$word"); fi
}
complete -o filenames -F _netsy netsy
`;
}

/** In single quotes for every shell here. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function zsh(commands: readonly CompletedCommand[]): string {
  const specOf = ({ name, help, takesValue, mayLack, values, isPath }: CompletedFlag): string => {
    const plain = help.replaceAll(/[[\]:\\]/g, (found) => `\\${found}`);
    const value = isPath ? ':path:_files' : `:value:(${values.join(' ')})`;
    // `=` for a value after it or in the next word, `=-` for one that can only be after it.
    const form = mayLack ? '=-' : takesValue ? '=' : '';
    return quoted(`${name}${form}[${plain}]${takesValue ? (mayLack ? `:${value}` : value) : ''}`);
  };
  const called = commands.filter(({ name }) => name !== '');
  const cases = called.map(({ name, flags, words }) => {
    const operand = words.length > 0 ? quoted(`*:what:(${words.join(' ')})`) : quoted('*:file:_files');
    return `    ${name}) _arguments ${[...flags.map(specOf), operand].join(' \\\n      ')} ;;`;
  });
  const described = called.map(({ name, help }) => quoted(`${name}:${help.replaceAll(':', '\\:')}`));
  const own = commands.find(({ name }) => name === '')?.flags ?? [];
  return `#compdef netsy
_netsy_commands() {
  local -a commands=(
    ${described.join('\n    ')}
  )
  _describe command commands
}
_netsy() {
  local curcontext="$curcontext" state line
  typeset -A opt_args
  _arguments -C ${[...own.map(specOf), "':: :_netsy_commands'", "'*::: :->rest'"].join(' \\\n    ')} && return
  [ "$state" = rest ] || return
  words=("$line[1]" "\${words[@]}")
  (( CURRENT += 1 ))
  case "$line[1]" in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = "_netsy" ]; then _netsy "$@"; else compdef _netsy netsy; fi
`;
}

function fish(commands: readonly CompletedCommand[]): string {
  const names = namesOf(commands);
  const lines = commands.flatMap(({ name, help, flags, words }) => {
    const when =
      name === '' ? `not __fish_seen_subcommand_from ${names}` : `__fish_seen_subcommand_from ${name}`;
    const condition = `complete -c netsy -n ${quoted(when)}`;
    return [
      ...(name === '' ? [] : [`complete -c netsy -f -n __fish_use_subcommand -a ${name} -d ${quoted(help)}`]),
      ...(words.length === 0 ? [] : [`${condition} -f -a ${quoted(words.join(' '))}`]),
      ...flags.map((flag) => {
        const words = ` -${flag.mayLack ? 'f' : 'x'} -a ${quoted(flag.values.join(' '))}`;
        const value = flag.isPath ? ' -r' : flag.takesValue ? words : '';
        return `${condition} -l ${flag.name.slice(2)}${value} -d ${quoted(flag.help)}`;
      }),
    ];
  });
  return `# fish completion for netsy\n${lines.join('\n')}\n`;
}
