"""`normexp completion SHELL`: a script that lets the shell ask `normexp completion query LINE` for what may come next."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

from normexp.bench.cases import takes
from normexp.commands import COMMANDS
from normexp.compose.overrides import FLAGS, known_keys
from normexp.config import GROUPS, OVERLAYS, Config, ConfigError, nearest, show, yaml_files

SHELLS = ("bash", "zsh", "fish")

# Bash treats `=` as the end of a word, so that only what stands behind it must be answered; the line is cut at the cursor.
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

FISH = """\
complete -c normexp -f -a '(normexp completion query (commandline -cp) 2>/dev/null)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}

HOW = """\
usage: normexp completion bash|zsh|fish, which prints a script for the shell
  bash: eval "$(normexp completion bash)" in ~/.bashrc
  zsh:  eval "$(normexp completion zsh)" in ~/.zshrc, behind compinit
  fish: normexp completion fish > ~/.config/fish/completions/normexp.fish"""


def main(argv: list[str]) -> int:
    """Print a shell's script, or the answers to a query."""
    match argv:
        case ["query", line]:
            print("\n".join(candidates(line)))
        case [shell] if shell in SCRIPTS:
            print(SCRIPTS[shell], end="")
        case [] | ["-h" | "--help"]:
            print(HOW)
        case [shell, *_]:
            raise ConfigError(f"completion {show(shell)}: the shells are {', '.join(SHELLS)}.{nearest(shell, SHELLS)}")
    return 0


def candidates(line: str) -> list[str]:
    """What the last word of a command line can become; it is empty where the line ends in a space."""
    words = line.split(" ")
    word, before = words[-1], [w for w in words[:-1] if w]
    if len(before) <= 1:
        return _starting(word, [*COMMANDS, "--help", "--version"])
    match before[1]:
        case "completion":
            return _starting(word, SHELLS)
        case "train" | "describe" | "bench" | "claims" as command:
            return {"bench": _bench, "claims": _claims}.get(command, _train)(word, before[2:])
        case "report" if word.startswith("-"):
            from normexp.commands.report import FLAGS as OF_REPORT

            return _starting(word, OF_REPORT)
    return []


def _train(word: str, before: list[str]) -> list[str]:
    values = FLAGS.get(before[-1]) if before else None
    if values is not None and before[-1] not in ("-i", "--info"):
        return _starting(word, values)
    if word.startswith("-"):
        return _starting(word, [flag for flag in FLAGS if flag.startswith("--")])
    key, equals, value = word.partition("=")
    if equals:
        done, comma, _ = value.rpartition(",")  # a sweep over several values
        return _starting(word, [f"{key}={done}{comma}{known}" for known in _values(key)])
    chosen = {**{g: yaml_files.default_choice(g) for g in GROUPS}, **dict(w.split("=", 1) for w in before if "=" in w)}
    inside = {group: set((name or "").split(",")) for group, name in chosen.items() if group in GROUPS}
    keys = [k for k, choices in known_keys().items() if "." in k and inside[k.split(".")[0]] & set(choices)]
    top = [*GROUPS, "experiment", *(k for k in known_keys() if "." not in k)]  # debug is one of the keys
    # The keys inside groups come once something is typed, so that the first list stays short.
    return [f"{key}=" for key in _starting(word, [*top, *(keys if word else [])])]


def _bench(word: str, before: list[str]) -> list[str]:
    from normexp.commands.bench import FLAGS as OF_BENCH

    if word.startswith("-"):
        return _starting(word, OF_BENCH)
    if before and before[-1] in OF_BENCH:  # a number or a file follows
        return []
    return [found for found in _train(word, before) if takes(found.partition("=")[0])]


def _claims(word: str, before: list[str]) -> list[str]:
    from normexp.commands import claims

    if before and before[-1] == "--scale":
        return _starting(word, ["small", "full"])
    if word.startswith("-"):
        return _starting(word, claims.FLAGS)
    if not before:
        return _starting(word, claims.VERBS)
    names = yaml_files.choices("claim") if before[0] in ("show", "run") else []
    sets = [*claims.SETS, *(f"{key}=" for key in claims.KEYS)] if before[0] == "run" else []
    return _starting(word, [*sets, *names])


def _values(key: str) -> list[str]:
    """The values that a key can have, where they can be listed."""
    if key in (*GROUPS, *OVERLAYS):
        return yaml_files.choices(key)
    group, _, name = key.rpartition(".")
    if not group:
        return _listed(get_type_hints(Config).get(name))
    if group not in GROUPS:
        return []
    from normexp.compose.choices import CHOICES

    hints = [get_type_hints(cls)[name] for cls in CHOICES[group].values() if name in get_type_hints(cls)]
    return _listed(hints[0]) if hints else []


def _listed(hint: Any) -> list[str]:
    if type(None) in get_args(hint):
        (hint,) = (each for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return ["true", "false"] if hint is bool else []


def _starting(word: str, known: Any) -> list[str]:
    return [item for item in known if item.startswith(word)]
