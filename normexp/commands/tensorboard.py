"""`normexp tensorboard [DIR]`: serve TensorBoard on localhost."""

import json
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from normexp.config import ConfigError, show
from normexp.records import TOTAL_GRAD_NORM

SAMPLES_PER_PLUGIN = "scalars=100000,histograms=10000,images=1000"
"""By default TensorBoard shows at most 1,000 scalars and 500 histograms per tag."""

PINNED_TAGS = ("train/loss", "val/accuracy", "val/loss", TOTAL_GRAD_NORM)
"""Charts at the top of the first page; below them TensorBoard sorts by name."""

HELP = """\
usage: normexp tensorboard [DIR] [flags of TensorBoard]
  look at the runs in DIR (default: runs) in the browser"""

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def main(argv: list[str]) -> int:
    """Serve TensorBoard for a folder of runs until Ctrl-C. Other flags are passed on to it."""
    flags = list(argv)
    folder = Path("runs")
    if flags and not flags[0].startswith("-"):
        folder = Path(flags.pop(0))
    elif len(flags) > 1 and Path(flags[-1]).is_dir():  # DIR after the flags
        folder = Path(flags.pop())
    if not folder.is_dir():
        raise ConfigError(
            f"There is no folder {show(folder)}: normexp train makes one, or name the folder of your runs."
        )
    from tensorboard import program

    board = program.TensorBoard(
        server_class=lambda app, options: program.create_port_scanning_werkzeug_server(_pinned(app), options)
    )
    own_flags = ["--logdir", str(folder), "--host", "localhost", "--samples_per_plugin", SAMPLES_PER_PLUGIN]
    board.configure(["tensorboard", *own_flags, *flags])
    try:
        address = board.launch()
    except program.TensorBoardServerException as error:
        raise ConfigError(f"TensorBoard can't start: {error}") from error
    console = Console(highlight=False)
    console.print(f"TensorBoard shows {folder} at {address} until Ctrl-C.", soft_wrap=True, markup=False)
    where = (
        "CUSTOM SCALARS has all layers side by side, IMAGES their histograms over time, TEXT the layers and the config."
    )
    console.print(where, soft_wrap=True)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    return 0


def _pinned(app: WSGI) -> WSGI:
    """Wrap a WSGI app so that its first page opens with the most important charts pinned."""
    pins = json.dumps([{"plugin": "scalars", "tag": tag} for tag in PINNED_TAGS], separators=(",", ":"))
    # Without smoothing: on a curve with few points, its end would be far from the last value. Without a fragment, so that a link
    # to another page keeps its own.
    target = f"?smoothing=0&pinnedCards={quote(pins)}"

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/" and not environ.get("QUERY_STRING"):
            start_response("302 Found", [("Location", target), ("Content-Length", "0")])
            return []
        return app(environ, start_response)

    return serve
