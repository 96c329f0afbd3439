"""`normexp metrics [RUN]`: list the metrics with their meanings."""

from pathlib import Path

from rich.console import Console

from normexp.commands.parser import Parser
from normexp.config import ConfigError, show
from normexp.metrics import find_pattern
from normexp.report.logged import known_metrics, show_metrics
from normexp.report.read import read

HELP = """\
usage: normexp metrics [RUN] [--layers]
  list all metrics with their meanings, as TensorBoard and --metric name them;
  with RUN, the folder of a run or sweep, those that it logged, with their last
  values

  --layers  list every layer instead of the range over all layers"""


def main(argv: list[str]) -> int:
    """Print the list. Raises ConfigError if the folder has no runs, or none that logged anything."""
    options = parser().parse(argv)
    for word in map(str, options.folders):
        if not Path(word).exists() and (pattern := find_pattern(word, known := known_metrics())):
            raise ConfigError(
                f"{show(word)} is a metric: {known[pattern]}. normexp metrics takes the folder of a run, and lists all "
                "metrics without one."
            )
    if options.layers and not options.folders:
        raise ConfigError("--layers needs a run: normexp metrics runs/NAME --layers.")
    list_metrics(options.folders, by_layer=options.layers)
    return 0


def list_metrics(folders: list[Path], *, by_layer: bool = False) -> None:
    """Print the metrics of the runs in the folders; without folders, every known metric. Raises ConfigError."""
    runs = read(folders).runs if folders else None
    if runs is not None and not any(run.metrics for run in runs):
        raise ConfigError("No run has logged anything yet; normexp metrics without a folder lists all metrics.")
    show_metrics(Console(highlight=False, emoji=False), runs, by_layer=by_layer)


def parser() -> Parser:
    parser = Parser("metrics")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--layers", action="store_true")
    return parser
