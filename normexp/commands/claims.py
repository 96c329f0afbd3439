"""`normexp claims`: list, show, run and report claims about norms."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console

from normexp.claims.load import CLAIM_SETS, claim_names, read_claim
from normexp.claims.schema import LOOKS, SEPARATOR, Group
from normexp.commands.parser import Parser, check_output_file, writing
from normexp.compose.argv import existing_config_dir
from normexp.compose.compose import compose
from normexp.compose.overrides import validate_overrides
from normexp.config import RESULT_INDEPENDENT_KEYS, ConfigError, expand_path, printable, show, suggest
from normexp.console import print_labelled, print_message

HELP = """\
usage: normexp claims
         list the claims about normalization, with their verdicts so far
       normexp claims show NAME [flags]
         one claim: statement, source, verdict and evidence; exact claims are
         computed on the spot
       normexp claims run NAME... | all | exact | experiments [flags] [key=value]
         train the runs of each claim and judge it by its rule: confirmed,
         confirmed in part, smaller than claimed, refuted, undecided or not
         comparable; judged after 5 seeds, and again after 8, 12 and 20 where the
         rule is undecided; claims that are already judged are skipped,
         interrupted ones resumed
       normexp claims report [--html FILE]
         write an HTML page of all verdicts (default: runs/claims/claims.html)

  --group G,...        only the claims of these groups: speed, stability,
                       regularization, mechanism, inference, architecture
  --data DATA          the claim on other data, with the same rule and seeds, as a
                       verdict of its own: a data set such as fashion_mnist, a
                       folder of images or an .npz file
  --quick              fewer seeds, steps and values: all claims in minutes; a
                       smoke test, not evidence
  --max-seeds N        at most N seeds, 5 or more; what they can't decide stays
                       undecided, until the command is repeated without it
  --scale small|full   small (default): digits and MNIST, minutes on a CPU;
                       full: the setups of the papers, for a GPU
  --again              train and judge again what is already judged
  --config-dir DIR     folder with your own claims: DIR/claim/NAME.yaml
  key=value            where and how to run: runs_dir, data_dir, device,
                       threads, jobs, checkpoint_every, data.verify"""

VERBS = ("show", "run", "report")

UNSETTABLE_KEYS = ("name", "objective", "tracker", "own_choices")
SETTABLE_KEYS = tuple(key for key in RESULT_INDEPENDENT_KEYS if key not in UNSETTABLE_KEYS)
"""Keys that a user may set: where and how to run. They don't change the results."""


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code. Raises ConfigError for wrong arguments."""
    options = parse(argv)
    folder = claims_folder(options)
    if options.verb == "run":
        return _run(options, folder, argv)
    {None: _list, "show": _show, "report": _report}[options.verb](
        options, folder, Console(highlight=False, emoji=False)
    )
    return 0


def parser() -> Parser:
    parser = Parser("claims")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    parser.add_argument("--max-seeds")
    parser.add_argument("--group")
    parser.add_argument("--data")
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
        hint = f" Try normexp claims show {options.verb}." if is_claim else suggest(options.verb, VERBS)
        raise ConfigError(f"normexp claims takes show, run or report, not {show(options.verb)}.{hint}")
    if (text := options.max_seeds) is not None:
        if not re.fullmatch(r"\d{1,9}", text) or int(text) < LOOKS[0]:
            raise ConfigError(
                f"--max-seeds {show(text)}: must be an integer >= {LOOKS[0]}, the seeds of the first look."
            )
        options.max_seeds = int(text)
    options.config_dir = None if options.config_dir is None else existing_config_dir(options.config_dir)
    options.groups = _groups(options)
    if options.data is not None:
        if options.verb not in ("show", "run"):
            raise ConfigError("--data is for claims run and claims show; the list and the page have all verdicts.")
        from normexp.claims.other_data import find_data

        options.data = find_data(options.data, options.config_dir)
    for word in options.overrides:
        key = word.partition("=")[0]
        if key not in SETTABLE_KEYS:
            settable = f"only {', '.join(SETTABLE_KEYS)} can be set.{suggest(key, SETTABLE_KEYS)}"
            if key in ("data", "data.path"):
                settable = f"--data {show(word.partition('=')[2])} runs it on other data."
            raise ConfigError(f"{show(word)}: a claim fixes the configs of its runs; {settable}")
    # not a key of every data set
    options.data_overrides = [word for word in options.overrides if word.startswith("data.")]
    options.overrides = [word for word in options.overrides if word not in options.data_overrides]
    compose(validate_overrides(["data=mnist", *options.data_overrides]))
    return options


def _groups(options: argparse.Namespace) -> tuple[str, ...]:
    """The groups that --group names. Raises ConfigError for unknown ones, and next to the names of claims."""
    if options.group is None:
        return ()
    known = get_args(Group)
    for group in (groups := options.group.split(",")):
        if group not in known:
            hint = suggest(group, known) or f" Groups: {', '.join(known)}."
            raise ConfigError(f"--group {show(options.group)}: unknown group {show(group) or chr(39) * 2}.{hint}")
    if names := [name for name in options.names if name not in CLAIM_SETS]:
        raise ConfigError(f"--group selects claims, and {show(names[0])} names one; give one of them.")
    return tuple(groups)


def claims_folder(options: argparse.Namespace) -> Path:
    """The folder with the verdicts and runs of all claims."""
    config = compose(validate_overrides(options.overrides))
    return expand_path("runs_dir", config.runs_dir) / "claims"


def _list(options: argparse.Namespace, folder: Path, console: Console) -> None:
    from normexp.claims import terminal
    from normexp.claims.stored import read_all

    rows, broken = read_all(folder, options.config_dir, quick=options.quick, groups=options.groups)
    terminal.show(console, rows)
    for problem in broken:
        print_message(console, problem)
    if broken:
        console.print()
    print_labelled(console, "run one", "normexp claims run NAME" + _location(options), width=10)
    print_labelled(console, "run all", "normexp claims run all --quick" + _location(options), width=10)


def _show(options: argparse.Namespace, folder: Path, console: Console) -> None:
    from normexp.claims import terminal
    from normexp.claims.fingerprint import code_fingerprint
    from normexp.claims.headline import is_outdated
    from normexp.claims.other_data import on_data
    from normexp.claims.stored import data_labelled, read_verdict

    if len(options.names) != 1:
        raise ConfigError("normexp claims show takes the name of one claim; normexp claims lists them.")
    name, data = options.names[0], options.data or ""
    if SEPARATOR in name and not data:
        name, data = data_labelled(folder, name, options.config_dir)
    claim = read_claim(name, options.config_dir, scale=options.scale, quick=options.quick, strict=True)
    known = read_verdict(folder, name, options.config_dir, quick=options.quick, data=data)
    if data and known is None:
        claim = on_data(claim, data)
    if claim.kind == "exact" and (known is None or is_outdated(known)):
        from normexp.claims.runner import judge_exact

        verdict = judge_exact(claim, code_fingerprint(options.config_dir, claim), options.config_dir)
        saved = "not judged yet" if known is None else f"saved: {known.outcome}, outdated"
        terminal.evidence(console, verdict, saved=saved)
    elif known is not None:
        terminal.evidence(console, known)
    else:
        terminal.rule(console, claim)
        on = f" {shlex.join(['--data', data])}" if data else ""
        print_labelled(console, "run it", f"normexp claims run {name}{on}{_location(options)}", width=10)


def _run(options: argparse.Namespace, folder: Path, argv: Sequence[str]) -> int:
    from normexp.claims import terminal
    from normexp.claims.runner import Request, run
    from normexp.sinks.progress_bar import RunConsole

    if not options.names and not options.groups:
        kinds = "the names of claims, or all, exact, experiments or --group G"
        raise ConfigError(f"normexp claims run takes {kinds}; normexp claims lists them.")
    console = RunConsole(highlight=False, emoji=False)
    with console.status("selecting claims"):
        names, left_out = _selected(options)
    for sentence in left_out:
        print_message(console, sentence)
    overrides, words = validate_overrides(options.overrides), ["claims", *argv]
    limits = options.scale, options.quick, options.again, options.max_seeds
    given = overrides, options.data_overrides, options.config_dir
    request = Request(names, *limits, *given, words, options.data or "")
    result = run(request, folder, console)
    console.print()
    if result.verdicts:
        terminal.summary(console, result.verdicts)
        console.print()
        name, where = result.verdicts[0].claim, _location(options)
        print_labelled(console, "verdicts", folder, width=10)
        print_labelled(console, "details", f"normexp claims show {name}{where}", width=10)
        print_labelled(console, "page", f"normexp claims report{where}", width=10)
    if result.signal is not None:
        again = shlex.join(word for word in argv if word != "--again")
        print_labelled(console, "resume", f"normexp claims {again}", width=10)
    console.close()
    return 128 + result.signal if result.signal else 1 if result.problems else 0


def _selected(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The names of the claims to run, and a sentence for each claim of a set that can't be run as asked. Exact claims of a set
    are left out of other data without one."""
    from normexp.claims.other_data import on_data
    from normexp.claims.runner import check_runs
    from normexp.compose.compose import Composer, compose_sweep

    names, left_out, composer = list[str](), list[str](), None
    for word in options.names or ["all"]:
        if (name := word.partition(SEPARATOR)[0]) != word:
            raise ConfigError(f"{show(word)}: use normexp claims run {show(name)} --data DATA.")
        if word not in CLAIM_SETS:
            names.append(word)
            continue
        for name in claim_names(options.config_dir):
            claim = read_claim(name, options.config_dir, scale=options.scale, quick=options.quick)
            if word not in ("all", claim.kind, f"{claim.kind}s") or (
                options.groups and claim.group not in options.groups
            ):
                continue
            if claim.kind == "experiment" and claim.scale != options.scale:
                left_out.append(f"{name}: left out; its file has no key full")
            elif claim.kind == "exact" or not options.data:
                names += [name] * (not options.data)
            else:
                if composer is None:
                    composer = Composer(*compose_sweep(validate_overrides(options.overrides), options.config_dir))
                try:
                    check_runs(on_data(claim, options.data), composer)
                    names.append(name)
                except ConfigError as error:
                    left_out.append(f"Left out: {error}")
    if not names:
        asked = shlex.join([*options.names, *(["--group", options.group] if options.group else [])])
        reasons = [*left_out, *(["Exact claims have no data to replace."] if options.data else []), ""]
        raise ConfigError(f"No claim can be run: {asked} selects none. {reasons[0]}".rstrip())
    return list(dict.fromkeys(names)), left_out


def _report(options: argparse.Namespace, folder: Path, console: Console) -> None:
    from normexp.claims import page, terminal
    from normexp.claims.stored import read_all

    if options.names:
        hint = f"try normexp claims show {show(options.names[0])}"
        raise ConfigError(f"normexp claims report covers all claims and takes no name; {hint}.")
    rows, broken = read_all(folder, options.config_dir, quick=options.quick, groups=options.groups)
    verdicts = [verdict for _, verdict in rows if verdict is not None]
    if not verdicts:
        start = f"normexp claims run all --quick{_location(options)}"
        raise ConfigError(f"No verdicts in {printable(folder)} yet. Start with {start}.")
    path = options.html or folder / "claims.html"
    check_output_file("--html", path, example="report.html")
    with writing(path):
        page.write(path, verdicts, [claim.name for claim, verdict in rows if verdict is None])
    terminal.summary(console, verdicts)
    for problem in broken:
        print_message(console, problem)
    console.print()
    print_labelled(console, "page", path, width=10)


def _location(options: argparse.Namespace) -> str:
    """The arguments with which a command finds the same claims and verdicts."""
    words = [word for word in options.overrides if word.startswith("runs_dir=")]
    words += ["--config-dir", str(options.config_dir)] if options.config_dir else []
    return f" {shlex.join(words)}" if words else ""
