"""`normexp eval RUN`: evaluate a finished run's network again."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from normexp import rundir
from normexp.commands.parser import Parser, check_output_file, writing
from normexp.commands.resume_run import with_paths
from normexp.compose.validate import validate
from normexp.config import Config, ConfigError, show, suggest_folder
from normexp.console import print_labelled
from normexp.data import info
from normexp.data.paths import MissingDataError
from normexp.metrics import format_metric
from normexp.report.evaluations import show_classes, show_confusion
from normexp.rundir.evaluations import append_evaluation
from normexp.training.evaluation_options import PATHS, TYPES, EvaluationOptions, evaluation_options, read_words

if TYPE_CHECKING:
    from normexp.training.evaluate_run import Evaluation

HELP = """\
usage: normexp eval RUN [options] [--confusion FILE]
  evaluate the network of a completed run again: RUN is its folder. The result
  is added to the run's evaluations.jsonl; nothing else in the folder changes

  split=test                 the data: test, val or train
  norm.statistics=running    statistics of bn and brn: running, recomputed, or
                             batch: each batch's own, as if eval() were
                             forgotten (default: running or recomputed, as
                             configured)
  statistics_from=train      data of recomputed statistics: train, or test: the
                             inputs of the (shifted) test set, without labels
  batch_size=N               with norm.statistics=batch: samples that share
                             statistics (default: as in training)
  fold=false                 fold batch norm into the layers before it
  shift=null                 invert, contrast, brightness, blur, noise or rotate
  shift.severity=3           1 to 5 (not for invert)
  seed=N                     seed of the shift's random numbers and of the order
                             of the target data (default: the run's)
  data_dir=DIR               if the data was moved
  data.path=PATH             if it was moved, with data=npz or data=folder
  device=auto                auto, cpu or cuda (default: as in training)

  --confusion FILE           draw the confusion matrix: .png, .svg or .pdf"""


def main(argv: list[str]) -> int:
    """Evaluate, record and print. Raises ConfigError, with nothing recorded, and WriteError."""
    options = parser().parse(argv)
    if not options.words or options.words[0].partition("=")[0] in (*TYPES, *PATHS):
        raise ConfigError("eval needs the folder of a run first: normexp eval runs/NAME.")
    directory = Path(options.words[0]).expanduser()
    given = read_words(options.words[1:])
    config = run_config(directory, given)
    chosen = evaluation_options(given, config)
    if options.confusion is not None:
        check_output_file("--confusion", options.confusion, example="confusion.png")
        if options.confusion.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise ConfigError(f"--confusion {show(options.confusion)}: the file must end in .png, .svg or .pdf.")
    from normexp.training.evaluate_run import evaluate_run

    result = evaluate_run(directory, config, chosen)
    try:
        if options.confusion is not None:
            from normexp.plotting.confusion import write_confusion

            with writing(options.confusion):
                write_confusion(options.confusion, result.confusion, info(config.data).class_names)
        append_evaluation(directory, result.entry(chosen))
    finally:  # a full disk or a read-only run must not cost the result
        _show(directory, config, chosen, result)
    if options.confusion is not None:
        print_labelled(Console(highlight=False, emoji=False), "matrix", options.confusion, width=10)
    return 0


def parser() -> Parser:
    parser = Parser("eval")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--confusion", type=Path)
    return parser


def run_config(directory: Path, given: Mapping[str, Any]) -> Config:
    """The config of a completed run, with the given paths. Raises ConfigError."""
    if not directory.is_dir():
        hint = suggest_folder(directory) or " normexp runs lists runs and sweeps."
        raise ConfigError(f"{show(directory)} is not a folder.{hint}")
    if not (directory / "config.yaml").exists():
        runs = sorted(path.parent for path in directory.glob("*/config.yaml"))
        hint = f"; name one of its runs, such as {show(runs[0], 200)}" if runs else "; normexp runs lists them"
        raise ConfigError(f"{show(directory)} is not the folder of a run{hint}.")
    try:
        state = rundir.read_status(directory)["state"]
        stored = rundir.read_config(directory)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{show(directory)} can't be evaluated: its status.json or config.yaml is damaged."
        ) from error
    if state != "completed":
        can_resume = state in ("failed", "interrupted", "killed")
        hint = f" normexp resume {show(shlex.quote(str(directory)), 200)} completes it." if can_resume else ""
        raise ConfigError(f"{show(directory)}: only a completed run can be evaluated, but its state is {state}.{hint}")
    data = stored.get("data")
    if "data.path" in given and isinstance(data, Mapping) and "path" not in data:
        raise ConfigError(f"data.path is for data=npz and data=folder; this run has data={show(data.get('name'))}.")
    tree = with_paths(directory, stored, {key: given[key] for key in ("data.path",) if key in given})
    try:
        return validate({**tree, **{key: given[key] for key in PATHS if key in given and key != "data.path"}})
    except MissingDataError as error:
        hint = "" if "data.path" in given else " If the data was moved, add data.path=... to the command."
        raise ConfigError(f"{error}{hint}") from error


def _show(directory: Path, config: Config, options: EvaluationOptions, result: "Evaluation") -> None:
    console = Console(highlight=False, emoji=False)
    names = info(config.data).class_names
    shift = "" if options.shift is None else f", {options.shift}"
    shift += "" if options.severity is None else f" {options.severity}"
    print_labelled(console, "run", directory, width=10)
    print_labelled(console, "data", f"{options.split}{shift}, {int(result.confusion.sum()):,} samples", width=10)
    if options.statistics is not None:
        source = f" from {options.statistics_from}" if options.statistics == "recomputed" else ""
        source += f", batch size {options.batch_size}" if options.batch_size else ""
        folded = ", folded" if options.fold else ""
        print_labelled(
            console, "norm", f"{config.norm.name}, {options.statistics} statistics{source}{folded}", width=10
        )
    print_labelled(console, "accuracy", format_metric(result.accuracy, "accuracy"), width=10)
    print_labelled(console, "loss", f"{result.loss:.4f}", width=10)
    show_classes(console, result.confusion.tolist(), names)
    show_confusion(console, result.confusion.tolist(), names)
