"""`normexp claims`: list, show, run and report claims about norms."""

from __future__ import annotations

import argparse
import itertools
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from normexp.claims.load import CLAIM_SETS, claim_names, read_claim
from normexp.commands.parser import Parser, check_output_file, writing
from normexp.compose.compose import compose
from normexp.compose.overrides import existing_config_dir, validate_overrides
from normexp.config import RESULT_INDEPENDENT_KEYS, ConfigError, expand_path, printable, show, suggest
from normexp.console import print_labelled

if TYPE_CHECKING:
    from normexp.claims.schema import Scale
    from normexp.claims.verdict import Verdict

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

VERBS = ("show", "run", "report")

STALE = "An earlier rule or code came to this: run it again."

SETTABLE_KEYS = tuple(key for key in RESULT_INDEPENDENT_KEYS if key not in ("name", "objective"))
"""Keys that a user may set: they say where and how runs are made, and don't change a claim."""


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code. Raises ConfigError for wrong arguments."""
    options = parse(argv)
    folder = claims_folder(options)
    if options.verb == "run":
        return _run(options, folder, argv)
    return {None: _list, "show": _show, "report": _report}[options.verb](options, folder)


def parser() -> Parser:
    parser = Parser("claims")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    parser.add_argument("--config-dir")
    parser.add_argument("--html", type=Path)
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The words after `claims`: verb, names, flags and overrides. Raises ConfigError."""
    options = parser().parse(argv)
    words = [word for word in options.words if "=" not in word]
    options.overrides = [word for word in options.words if "=" in word]
    options.verb, options.names = (words[0], words[1:]) if words else (None, [])
    if options.verb is not None and options.verb not in VERBS:
        is_claim = options.verb in claim_names(None)
        hint = f" normexp claims show {options.verb} says more of it." if is_claim else suggest(options.verb, VERBS)
        raise ConfigError(f"normexp claims takes show, run or report, not {show(options.verb)}.{hint}")
    options.config_dir = None if options.config_dir is None else existing_config_dir(options.config_dir)
    for word in options.overrides:
        key = word.partition("=")[0]
        if key not in SETTABLE_KEYS:
            given = f"{', '.join(SETTABLE_KEYS)} can be given.{suggest(key, SETTABLE_KEYS)}"
            raise ConfigError(f"{show(word)}: a claim fixes what its runs are; {given}")
    return options


def claims_folder(options: argparse.Namespace) -> Path:
    """The folder of the verdicts and runs of all claims."""
    config = compose(validate_overrides(options.overrides))
    return expand_path("runs_dir", config.runs_dir) / "claims"


def _list(options: argparse.Namespace, folder: Path) -> int:
    from normexp.claims import terminal

    claims = [read_claim(name, options.config_dir) for name in claim_names(options.config_dir)]
    claims.sort(key=lambda claim: claim.kind != "exact")
    console = Console(highlight=False, emoji=False)
    terminal.show(console, [(claim, _verdict(folder, claim.name, options)) for claim in claims])
    print_labelled(console, "run one", "normexp claims run NAME" + _location(options), width=10)
    print_labelled(console, "run all", "normexp claims run all --quick" + _location(options), width=10)
    return 0


def _show(options: argparse.Namespace, folder: Path) -> int:
    from normexp.claims import terminal
    from normexp.claims.fingerprint import code_fingerprint

    if len(options.names) != 1:
        raise ConfigError("normexp claims show takes the name of one claim; normexp claims lists them.")
    claim = read_claim(options.names[0], options.config_dir, scale=options.scale, quick=options.quick)
    console = Console(highlight=False, emoji=False)
    if claim.kind == "exact":
        from normexp.claims.runner import judge_exact

        terminal.evidence(console, judge_exact(claim, code_fingerprint(options.config_dir), options.config_dir))
    elif (known := _verdict(folder, claim.name, options)) is not None:
        terminal.evidence(console, known)
    else:
        terminal.rule(console, claim)
        print_labelled(console, "run it", f"normexp claims run {claim.name}{_location(options)}", width=10)
    return 0


def _run(options: argparse.Namespace, folder: Path, argv: Sequence[str]) -> int:
    from normexp.claims import terminal
    from normexp.claims.runner import Request, run
    from normexp.sinks.progress_bar import RunConsole

    if not options.names:
        raise ConfigError(
            "normexp claims run takes the names of claims, or all, exact or experiments; normexp claims lists them."
        )
    names: list[str] = []
    for word in options.names:
        selected = claim_names(options.config_dir) if word in CLAIM_SETS else [word]
        if word in ("exact", "experiments"):
            kind = word.removesuffix("s")
            selected = [name for name in selected if read_claim(name, options.config_dir).kind == kind]
        names += [name for name in selected if name not in names]
    console = RunConsole(highlight=False, emoji=False)
    overrides, words = validate_overrides(options.overrides), ["claims", *argv]
    request = Request(names, options.scale, options.quick, options.again, overrides, options.config_dir, words)
    result = run(request, folder, console)
    console.print()
    if result.verdicts:
        terminal.summary(console, result.verdicts)
        console.print()
        print_labelled(console, "verdicts", folder, width=10)
        print_labelled(console, "more", f"normexp claims show {result.verdicts[0].claim}{_location(options)}", width=10)
        print_labelled(console, "page", f"normexp claims report{_location(options)}", width=10)
    if result.signal is not None:
        again = shlex.join(word for word in argv if word != "--again")
        print_labelled(console, "go on", f"normexp claims {again}", width=10)
    console.close()
    return 128 + result.signal if result.signal else 1 if result.problems else 0


def _report(options: argparse.Namespace, folder: Path) -> int:
    from normexp.claims import page, terminal

    if options.names:
        raise ConfigError(
            f"normexp claims report takes no name: {show(options.names[0])}. normexp claims show takes one."
        )
    by_claim = {name: _verdict(folder, name, options) for name in claim_names(options.config_dir)}
    verdicts = list(filter(None, by_claim.values()))
    if not verdicts:
        raise ConfigError(
            f"There are no verdicts in {printable(folder)} yet: normexp claims run all --quick makes them."
        )
    path = options.html or folder / "claims.html"
    check_output_file("--html", path, example="report.html")
    console = Console(highlight=False, emoji=False)
    with writing(path):
        page.write(path, verdicts, [name for name, verdict in by_claim.items() if verdict is None])
    terminal.summary(console, verdicts)
    console.print()
    print_labelled(console, "page", path, width=10)
    return 0


def _verdict(folder: Path, name: str, options: argparse.Namespace) -> Verdict | None:
    """The most thorough verdict of a claim: full scale before small, then the asked number of seeds.

    A verdict of an earlier rule or code is marked as such.
    """
    from normexp.claims.fingerprint import code_fingerprint, is_fresh
    from normexp.claims.verdict import path_of, read

    scales: tuple[Scale, ...] = ("full", "small")
    for scale, quick in itertools.product(scales, (True, False) if options.quick else (False, True)):
        verdict = read(path_of(folder, name, scale=scale, quick=quick))
        if verdict is not None:
            claim = read_claim(name, options.config_dir, scale=scale, quick=quick)
            fresh = is_fresh(verdict, claim, code_fingerprint(options.config_dir))
            return verdict if fresh else replace(verdict, because=f"{STALE} {verdict.because}")
    return None


def _location(options: argparse.Namespace) -> str:
    """The words that a command needs to read the same claims and verdicts."""
    words = [word for word in options.overrides if word.startswith("runs_dir=")]
    words += ["--config-dir", str(options.config_dir)] if options.config_dir else []
    return f" {shlex.join(words)}" if words else ""
