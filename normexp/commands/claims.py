"""`normexp claims`: what is said about norms, run and judged."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from normexp.claims.load import RESERVED as SETS
from normexp.config import NOT_OF_THE_RESULT, ConfigError, nearest, show
from normexp.rundir.safe_read import printable

if TYPE_CHECKING:
    from normexp.claims.schema import Scale

HELP = """\
usage: normexp claims
         what is said about norms, and what came out where it was run
       normexp claims show NAME [flags]
         the sentence, its source, its rule; exact claims with the numbers side
         by side, others with what was measured
       normexp claims run NAME... | all | exact | experiments [flags] [key=value]
         train what decides it, and judge it by its rule: confirmed, refuted,
         inconclusive or not comparable; what was judged before stays, and what
         was interrupted goes on
       normexp claims report [--html FILE]
         the page of all claims (default: runs/claims/claims.html)

  --quick              fewer seeds, steps and values: minutes for all of them;
                       the verdict says so
  --scale small|full   small (default): digits and MNIST, minutes on a CPU;
                       full: the papers' own set-ups, for a GPU
  --again              train and judge also what was judged before
  --config-dir DIR     a folder with claims of your own: DIR/claim/NAME.yaml
  key=value            where and how runs are made: runs_dir, data_dir, device,
                       threads, jobs, checkpoint_every"""

FLAGS = ("--quick", "--scale", "--again", "--config-dir", "--html", "--help")
VERBS = ("show", "run", "report")
KEYS = tuple(key for key in NOT_OF_THE_RESULT if key not in ("name", "objective"))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        flag = message.removeprefix("argument ").partition(":")[0]
        if "invalid choice" in message:
            raise ConfigError(f"{flag} is one of small, full.")
        if "expected one argument" in message:
            raise ConfigError(f"{flag} must be followed by a value; normexp claims --help says which.")
        word = message.rpartition(": ")[2].split()[0]
        raise ConfigError(f"There is no flag {show(word)}.{nearest(word, FLAGS)} normexp claims --help lists them.")


def main(argv: list[str]) -> int:
    """Run the command with the words behind `claims`; returns the exit code. Raises ConfigError for what a user can mend."""
    if {"-h", "--help"} & set(argv):
        print(HELP)
        return 0
    options = parse(argv)
    folder = claims_folder(options)
    match options.verb:
        case None:
            return _list(options, folder)
        case "show":
            return _show(options, folder)
        case "report":
            return _report(options, folder)
    return _run(options, folder, argv)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The words behind `claims`: verb, names, flags and overrides. Raises ConfigError for what is none of them."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    parser.add_argument("--config-dir", dest="config_dir", type=Path)
    parser.add_argument("--html", type=Path)
    options = parser.parse_intermixed_args(argv)
    words = [word for word in options.words if "=" not in word]
    options.overrides = [word for word in options.words if "=" in word]
    options.verb, options.names = (words[0], words[1:]) if words else (None, [])
    if options.verb is not None and options.verb not in VERBS:
        known = [*VERBS, *_names(None)]
        hint = (
            f" normexp claims show {options.verb} says more of it."
            if options.verb in known
            else nearest(options.verb, VERBS)
        )
        raise ConfigError(f"normexp claims takes show, run or report, not {show(options.verb)}.{hint}")
    if options.config_dir is not None and not options.config_dir.is_dir():
        raise ConfigError(f"--config-dir {show(options.config_dir)}: there is no such folder.")
    for word in options.overrides:
        key = word.partition("=")[0]
        if key not in KEYS:
            raise ConfigError(
                f"{show(word)}: a claim fixes what its runs are; {', '.join(KEYS)} can be given.{nearest(key, KEYS)}"
            )
    return options


def claims_folder(options: argparse.Namespace) -> Path:
    """Where verdicts and runs of all claims are."""
    from normexp.compose.compose import compose
    from normexp.compose.overrides import Arguments, check
    from normexp.config import expanded

    config = compose(check(Arguments([], options.overrides, None)))
    return expanded("runs_dir", config.runs_dir) / "claims"


def _names(config_dir: Path | None) -> list[str]:
    from normexp.claims.load import names

    return names(config_dir)


def _list(options: argparse.Namespace, folder: Path) -> int:
    from normexp.claims import terminal

    console = _console()
    terminal.show(console, _rows(options, folder))
    _line(console, "run one", "normexp claims run NAME" + _own(options))
    _line(console, "run all", "normexp claims run all --quick" + _own(options))
    return 0


def _show(options: argparse.Namespace, folder: Path) -> int:
    from normexp.claims import terminal, verdict
    from normexp.claims.load import read

    if len(options.names) != 1:
        raise ConfigError("normexp claims show takes the name of one claim; normexp claims lists them.")
    claim = read(options.names[0], options.config_dir, scale=options.scale, quick=options.quick)
    console = _console()
    if claim.kind == "exact":
        from normexp.claims.runner import Asked, computed

        asked = Asked([claim.name], claim.scale, claim.quick, False, [], options.config_dir, [])
        terminal.evidence(console, computed(claim, verdict.code(options.config_dir), asked))
    else:
        known = _verdict(folder, claim.name, options)
        if known is not None:
            terminal.evidence(console, known)
        else:
            terminal.rule(console, claim)
            _line(console, "run it", f"normexp claims run {claim.name}{_own(options)}")
    return 0


def _run(options: argparse.Namespace, folder: Path, argv: Sequence[str]) -> int:
    from normexp.claims import terminal
    from normexp.claims.load import read
    from normexp.claims.runner import Asked, run
    from normexp.compose.overrides import Arguments, check
    from normexp.sinks.progress_bar import RunConsole

    if not options.names:
        raise ConfigError(
            "normexp claims run takes the names of claims, or all, exact or experiments; normexp claims lists them."
        )
    names: list[str] = []
    for word in options.names:
        found = _names(options.config_dir) if word in SETS else [word]
        if word in ("exact", "experiments"):
            found = [name for name in found if (read(name, options.config_dir).kind == "exact") == (word == "exact")]
        names += [name for name in found if name not in names]
    console = RunConsole(highlight=False, emoji=False)
    overrides = check(Arguments([], options.overrides, None))
    asked = Asked(names, options.scale, options.quick, options.again, overrides, options.config_dir, ["claims", *argv])
    outcome = run(asked, folder, console)
    console.print()
    if outcome.verdicts:
        terminal.summary(console, outcome.verdicts)
        console.print()
        _line(console, "verdicts", folder)
        _line(console, "more", f"normexp claims show {outcome.verdicts[0]['claim']}{_own(options)}")
        _line(console, "page", f"normexp claims report{_own(options)}")
    if outcome.signal is not None:
        words = shlex.join(word for word in argv if word != "--again")
        _line(console, "go on", f"normexp claims {words}")
    console.close()
    return 128 + outcome.signal if outcome.signal else 1 if outcome.problems else 0


def _report(options: argparse.Namespace, folder: Path) -> int:
    from normexp.claims import page, terminal
    from normexp.commands.report import check_file, writing

    if options.names:
        raise ConfigError(
            f"normexp claims report takes no name: {show(options.names[0])}. normexp claims show takes one."
        )
    found = {name: _verdict(folder, name, options) for name in _names(options.config_dir)}
    verdicts = [verdict for verdict in found.values() if verdict is not None]
    if not verdicts:
        raise ConfigError(
            f"There are no verdicts in {printable(folder)} yet: normexp claims run all --quick makes them."
        )
    path = options.html or folder / "claims.html"
    check_file("--html", path)
    console = _console()
    with writing(path):
        page.write(path, verdicts, [name for name, verdict in found.items() if verdict is None])
    terminal.summary(console, verdicts)
    console.print()
    _line(console, "page", path)
    return 0


def _rows(options: argparse.Namespace, folder: Path) -> list[tuple[Any, Mapping[str, Any] | None]]:
    from normexp.claims.load import read

    claims = [read(name, options.config_dir) for name in _names(options.config_dir)]
    claims.sort(key=lambda claim: claim.kind != "exact")
    return [(claim, _verdict(folder, claim.name, options)) for claim in claims]


def _verdict(folder: Path, name: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """The best there is: the paper's set-up before the small one, all seeds before few; what is asked for before others.

    One that another rule or other code has led to says so.
    """
    from normexp.claims import verdict
    from normexp.claims.load import read

    scales: tuple[Scale, ...] = ("full", "small")
    for scale in scales:
        for quick in (True, False) if options.quick else (False, True):
            found = verdict.read(verdict.path_of(folder, name, scale=scale, quick=quick))
            if found is not None:
                claim = read(name, options.config_dir, scale=scale, quick=quick)
                if not verdict.is_fresh(found, claim, verdict.code(options.config_dir)):
                    found["because"] = f"{STALE} {found['because']}"
                return found
    return None


STALE = "An earlier rule or code came to this: run it again."


def _own(options: argparse.Namespace) -> str:
    """The words that lead to the same claims and verdicts."""
    words = [word for word in options.overrides if word.startswith("runs_dir=")]
    words += ["--config-dir", str(options.config_dir)] if options.config_dir else []
    return f" {shlex.join(words)}" if words else ""


def _console() -> Console:
    return Console(highlight=False, emoji=False)


def _line(console: Console, what: str, where: object) -> None:
    """A path or a command, unwrapped: they are there to be copied."""
    console.print(f"{what:<9} {printable(where)}", soft_wrap=True, markup=False)
