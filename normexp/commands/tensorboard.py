"""`normexp tensorboard [DIR]`: TensorBoard on this machine, for its user alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from normexp.config import ConfigError, show

SAMPLES = "scalars=100000,histograms=10000,images=1000"
"""TensorBoard thins out what it shows to 1,000 scalars and 500 histograms a tag unless it is told otherwise."""

PINNED = ("train/loss", "val/accuracy", "val/loss", "grad_norm/total")
"""What stands on top of the page that opens first, whose groups come in alphabetical order."""

HELP = """\
usage: normexp tensorboard [DIR] [flags of TensorBoard]
  look at the runs in DIR (default: runs) in the browser"""

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def main(argv: list[str]) -> int:
    """Serve TensorBoard for a folder of runs, at localhost, until Ctrl-C. Further flags are passed on to it."""
    if {"-h", "--help"} & set(argv):
        print(HELP)
        return 0
    flags = list(argv)
    folder = Path("runs")
    if flags and not flags[0].startswith("-"):
        folder = Path(flags.pop(0))
    elif len(flags) > 1 and Path(flags[-1]).is_dir():  # behind the flags
        folder = Path(flags.pop())
    if not folder.is_dir():
        raise ConfigError(
            f"There is no folder {show(folder)}: normexp train makes one, or name the folder of your runs."
        )
    from tensorboard import program

    def server(app: WSGI, options: Any) -> Any:
        return program.create_port_scanning_werkzeug_server(with_pins(app), options)

    board = program.TensorBoard(server_class=server)
    board.configure(
        ["tensorboard", "--logdir", str(folder), "--host", "localhost", "--samples_per_plugin", SAMPLES, *flags]
    )
    try:
        address = board.launch()
    except program.TensorBoardServerException as error:
        raise ConfigError(f"TensorBoard can't start: {error}") from error
    console = Console(highlight=False)
    console.print(f"TensorBoard shows {folder} at {address} until Ctrl-C.", soft_wrap=True, markup=False)
    console.print(
        "CUSTOM SCALARS has all layers side by side, IMAGES their histograms over time, TEXT the layers and the config.",
        soft_wrap=True,
    )
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    raise AssertionError


def with_pins(app: WSGI) -> WSGI:
    """The same pages, but the first one opens with its most wanted charts pinned."""
    pins = json.dumps([{"plugin": "scalars", "tag": tag} for tag in PINNED], separators=(",", ":"))
    # Unsmoothed: TensorBoard's smoothing ends a curve of few evaluations far from its last value. Without a fragment, so that
    # the one of a link to another page stays.
    target = f"?smoothing=0&pinnedCards={quote(pins)}"

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/" and not environ.get("QUERY_STRING"):
            start_response("302 Found", [("Location", target), ("Content-Length", "0")])
            return []
        return app(environ, start_response)

    return serve
