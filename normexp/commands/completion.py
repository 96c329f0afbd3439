"""`normexp completion SHELL`: print a script with which the shell completes by `normexp completion query LINE`."""

import importlib
import types
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from normexp.bench.cases import has_effect
from normexp.commands import COMMANDS
from normexp.compose.argv import FLAGS
from normexp.compose.choices import key_types, known_keys
from normexp.config import GROUPS, OVERLAYS, ConfigError, show, suggest, yaml_files
from normexp.config.reader import literal_values

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
            raise ConfigError(f"Unknown shell {show(shell)}: use {', '.join(SCRIPTS)}.{suggest(shell, SCRIPTS)}")
    return 0


def candidates(line: str) -> list[str]:
    """Completions of the last word of a command line, which is empty if the line ends in a space."""
    *before, word = line.split(" ")
    return [candidate for candidate in _candidates(word, list(filter(None, before))) if candidate.startswith(word)]


def _candidates(word: str, before: Sequence[str]) -> Iterable[str]:
    """The words that may follow those before; more than those that begin as the typed word does."""
    if len(before) <= 1:
        return [*COMMANDS, "help", "--help", "--version"]
    _, command, *before = before
    if command in ("bench", "claims", "report", "runs", "metrics", "rm", "eval") and word.startswith("-"):
        return _flags(command)
    completers = {"bench": _bench, "claims": _claims, "report": _report, "eval": _eval}
    completers |= {"train": _train, "describe": _train}
    if command in completers:
        return completers[command](word, before)
    return {"completion": SCRIPTS, "help": [*COMMANDS, *GROUPS, *known_keys()]}.get(command, [])


def _flags(command: str) -> list[str]:
    flags: list[str] = importlib.import_module(f"normexp.commands.{command}").parser().flags
    return flags


def _train(word: str, before: Sequence[str]) -> Iterable[str]:
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


def _bench(word: str, before: Sequence[str]) -> Iterable[str]:
    if before and before[-1] in _flags("bench"):  # its value is a number or a file
        return []
    return [candidate for candidate in _train(word, before) if has_effect(candidate.partition("=")[0])]


def _report(_: str, before: Sequence[str]) -> Iterable[str]:
    if before[-1:] not in (["--metric"], ["--plot"]):
        return []
    from normexp.report.logged import known_metrics

    return ["help", *(tag for tag in known_metrics() if tag == tag.lower())]  # without placeholders, such as LAYER


def _eval(word: str, before: Sequence[str]) -> Iterable[str]:
    from normexp.training.evaluation_options import PATHS, TYPES

    if not before or before[-1] == "--confusion":  # a folder, a file
        return []
    key, equals, _ = word.partition("=")
    if not equals:
        return [f"{key}=" for key in (*TYPES, *PATHS)]
    hint, _ = TYPES.get(key, (None, {}))
    values = list("12345") if key == "shift.severity" else _listed(hint) or _values(key)
    return [f"{key}={value}" for value in values]


def _claims(_: str, before: Sequence[str]) -> Iterable[str]:
    from normexp.commands import claims

    values = {"--scale": ["small", "full"], "--group": get_args(claims.Group), "--data": yaml_files.choices("data")}
    if before[-1:] and before[-1] in values:
        return values[before[-1]]
    if not before:
        return claims.VERBS
    names = yaml_files.choices("claim") if before[0] in ("show", "run") else []
    sets = [*claims.CLAIM_SETS, *(f"{key}=" for key in claims.SETTABLE_KEYS)] if before[0] == "run" else []
    return [*sets, *names]


def _values(key: str) -> list[str]:
    """The possible values of a key, if they are few; else an empty list."""
    if key in (*GROUPS, *OVERLAYS):
        return yaml_files.choices(key)
    types = key_types(key, known_keys().get(key, [])[:1])  # others have the same, and might have to be imported
    return _listed(next((hint for hint, _ in types.values()), None))


def _listed(hint: Any) -> list[str]:
    """The values of a type, if they are few; else an empty list."""
    for option in get_args(hint) if get_origin(hint) in (types.UnionType, Union) else [hint]:
        if option is bool:
            return ["true", "false"]
        if get_origin(option) is Literal:
            return list(literal_values(option))
    return []
