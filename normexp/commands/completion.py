"""`normexp completion SHELL`: print a script with which the shell completes by `normexp completion query LINE`."""

import importlib
from collections.abc import Iterable
from typing import Literal, get_args, get_origin, get_type_hints

from normexp.bench.cases import has_effect
from normexp.commands import COMMANDS
from normexp.compose.choices import CHOICES, known_keys
from normexp.compose.overrides import FLAGS
from normexp.config import GROUPS, OVERLAYS, Config, ConfigError, show, suggest, yaml_files

# Bash ends a word at `=`, so only the part after it must be returned. The line is cut at the cursor.
BASH = """\
_normexp() {
    local line="${COMP_LINE:0:COMP_POINT}" word
    word="${line##* }"
    local IFS=$'\\n'
    COMPREPLY=($(normexp completion query "$line" 2>/dev/null))
    if [[ ${#COMPREPLY[@]} -eq 0 ]]; then
        COMPREPLY=($(compgen -f -- "${word##*=}"))
        compopt -o filenames 2>/dev/null
        return
    fi
    if [[ $word == *=* && $COMP_WORDBREAKS == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*=}"}"}")
    fi
    [[ ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace 2>/dev/null
}
complete -F _normexp normexp
"""

ZSH = """\
#compdef normexp
_normexp() {
    local -a found
    found=(${(f)"$(normexp completion query "${LBUFFER}" 2>/dev/null)"})
    if (( ${#found} == 0 )); then
        compset -P '*='
        _files
    elif [[ ${found[1]} == *[=.] ]]; then
        compadd -S '' -- $found
    else
        compadd -- $found
    fi
}
compdef _normexp normexp
"""

FISH = "complete -c normexp -f -a '(normexp completion query (commandline -cp) 2>/dev/null)'\n"

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}

HELP = """\
usage: normexp completion bash|zsh|fish
  print a completion script:
  bash: eval "$(normexp completion bash)" in ~/.bashrc
  zsh:  eval "$(normexp completion zsh)" in ~/.zshrc, after compinit
  fish: normexp completion fish > ~/.config/fish/completions/normexp.fish"""


def main(argv: list[str]) -> int:
    """Print a shell's script, or the candidates for a query."""
    match argv:
        case ["query", line]:
            print("\n".join(candidates(line)))
        case [shell] if shell in SCRIPTS:
            print(SCRIPTS[shell], end="")
        case []:
            print(HELP)
        case [shell, *_]:
            raise ConfigError(
                f"completion {show(shell)}: the shells are {', '.join(SCRIPTS)}.{suggest(shell, SCRIPTS)}"
            )
    return 0


def candidates(line: str) -> list[str]:
    """Completions of the last word of a command line, which is empty if the line ends in a space."""
    words = line.split(" ")
    word, before = words[-1], [w for w in words[:-1] if w]
    return [candidate for candidate in _candidates(word, before) if candidate.startswith(word)]


def _candidates(word: str, before: list[str]) -> Iterable[str]:
    """The words that may follow those before; more than those that begin as the typed word does."""
    if len(before) <= 1:
        return [*COMMANDS, "--help", "--version"]
    match before[1]:
        case "completion":
            return SCRIPTS
        case "train" | "describe" | "bench" | "claims" as command:
            return {"bench": _bench, "claims": _claims}.get(command, _train)(word, before[2:])
        case "report" | "runs" | "metrics" | "rm" as command:
            return _report(command, word, before[2:])
    return []


def _train(word: str, before: list[str]) -> list[str]:
    values = FLAGS.get(before[-1]) if before else None
    if values is not None and before[-1] not in ("-i", "--info"):
        return list(values)
    if word.startswith("-"):
        return [flag for flag in FLAGS if flag.startswith("--")]
    key, equals, value = word.partition("=")
    if equals:
        done, comma, _ = value.rpartition(",")  # several values, for a sweep
        return [f"{key}={done}{comma}{known}" for known in _values(key)]
    chosen = {**{g: yaml_files.default_choice(g) for g in GROUPS}, **dict(w.split("=", 1) for w in before if "=" in w)}
    inside = {group: set((name or "").split(",")) for group, name in chosen.items() if group in GROUPS}
    keys = [k for k, choices in known_keys().items() if "." in k and inside[k.split(".")[0]] & set(choices)]
    top = [*GROUPS, "experiment", *(k for k in known_keys() if "." not in k)]  # debug is among the keys
    # Keys inside groups are offered once something is typed, to keep the first list short.
    return [f"{key}=" for key in [*top, "seeds", *(keys if word else [])]]


def _bench(word: str, before: list[str]) -> list[str]:
    from normexp.commands import bench

    flags = bench.parser().flags
    if word.startswith("-"):
        return flags
    if before and before[-1] in flags:  # its value is a number or a file
        return []
    return [candidate for candidate in _train(word, before) if has_effect(candidate.partition("=")[0])]


def _claims(word: str, before: list[str]) -> Iterable[str]:
    from normexp.commands import claims

    if before and before[-1] == "--scale":
        return ["small", "full"]
    if word.startswith("-"):
        return claims.parser().flags
    if not before:
        return claims.VERBS
    names = yaml_files.choices("claim") if before[0] in ("show", "run") else []
    sets = [*claims.CLAIM_SETS, *(f"{key}=" for key in claims.SETTABLE_KEYS)] if before[0] == "run" else []
    return [*sets, *names]


def _report(command: str, word: str, before: list[str]) -> list[str]:
    if word.startswith("-"):
        flags: list[str] = importlib.import_module(f"normexp.commands.{command}").parser().flags
        return flags
    if before[-1:] in (["--metric"], ["--plot"]):
        from normexp.report.logged import known_metrics

        return ["help", *(tag for tag in known_metrics() if tag == tag.lower())]  # without placeholders, such as LAYER
    return []


def _values(key: str) -> list[str]:
    """The possible values of a key, if they are few; else an empty list."""
    if key in (*GROUPS, *OVERLAYS):
        return yaml_files.choices(key)
    group, _, name = key.rpartition(".")
    classes = CHOICES.get(group, {}).values() if group else [Config]
    hint = next((hints[name] for hints in map(get_type_hints, classes) if name in hints), None)
    for option in get_args(hint) if type(None) in get_args(hint) else [hint]:
        if option is bool:
            return ["true", "false"]
        if get_origin(option) is Literal:
            return list(get_args(option))
    return []
