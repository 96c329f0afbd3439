"""`normexp tensorboard [DIR...]`: serve TensorBoard on localhost."""

import contextlib
import io
import json
import os
import re
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from normexp.config import ConfigError, printable, show, suggest, suggest_folder
from normexp.console import print_line
from normexp.records import TOTAL_GRAD_NORM
from normexp.report.read import run_directories

SAMPLES_PER_PLUGIN = "scalars=100000,histograms=10000,images=1000"
"""By default TensorBoard shows at most 1,000 scalars and 500 histograms per tag."""

PINNED_TAGS = ("train/loss", "val/accuracy", "val/loss", TOTAL_GRAD_NORM)
"""Charts at the top of the first page; below them TensorBoard sorts by name."""

MAX_IN_SERIES = 500
"""TIME SERIES selects no run if there are more."""

MAX_SELECTED = 20
"""Number of runs that the other pages select at first. TensorBoard selects up to 40 and none of more, but the charts of 40 runs
keep a browser busy for half a minute."""

SCRIPT = """\
// Other defaults for TensorBoard's elements: no smoothing, which on a curve with few points hides the last values; and the
// first runs are selected, however many there are.
{
  const unsmoothed = (prototype) => {
    const ready = prototype.ready;
    prototype.ready = function () {
      if (this._smoothingWeight === 0.6) this._smoothingWeight = 0;
      ready.call(this);
    };
  };
  const firstSelected = (prototype) => {
    prototype.computeOutSelected = function () {
      const first = new Set(this.namesMatchingRegex.slice(0, MAX_SELECTED));
      return this.namesMatchingRegex.filter((name) => this.selectionState[name] ?? first.has(name));
    };
  };
  const changes = {
    "tf-custom-scalar-dashboard": unsmoothed,
    "tf-scalar-dashboard": unsmoothed,
    "tf-multi-checkbox": firstSelected,
  };
  const define = customElements.define;
  customElements.define = function (name, element, options) {
    changes[name]?.(element.prototype);
    define.call(this, name, element, options);
  };
}
""".replace("MAX_SELECTED", str(MAX_SELECTED))

HELP = """\
usage: normexp tensorboard [DIR ...] [flags of TensorBoard]
  show runs in the browser; DIR is the folder of a run, of a sweep, or of
  several (default: runs)

  normexp tensorboard runs/none runs/bn    only these two runs
  normexp tensorboard --port 7000          another port (default: 6006)"""

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def main(argv: list[str]) -> int:
    """Serve TensorBoard for folders of runs until Ctrl-C. Other flags are passed on to it. Raises ConfigError."""
    folders, flags = _split(argv)
    for folder in folders:
        if folder.is_file():
            raise ConfigError(f"{show(folder)} is a file; name the folder of a run or of a sweep.")
        if not folder.is_dir():
            hint = suggest_folder(folder) or " Name the folder of your runs; normexp train creates runs/ by default."
            raise ConfigError(f"{show(folder)} does not exist.{hint}")
    from tensorboard import program

    board = program.TensorBoard(
        server_class=lambda app, options: program.create_port_scanning_werkzeug_server(_adapted(app), options)
    )
    console = Console(highlight=False)
    with _log_folder(folders) as log_folder:
        own_flags = ["--logdir", str(log_folder), "--host", "localhost", "--samples_per_plugin", SAMPLES_PER_PLUGIN]
        _configure(board, [*own_flags, *flags])
        for line in _expectations(folders):
            print_line(console, line)
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # a notice on how it reads files
                address = board.launch()
        except program.TensorBoardServerException as error:
            raise ConfigError(f"TensorBoard can't start: {error}") from error
        shown = printable(", ".join(map(str, folders)))
        print_line(console, f"TensorBoard shows {shown} at {address} (Ctrl-C to stop)")
        pages = "CUSTOM SCALARS: charts of all layers. IMAGES: histograms over time. TEXT: layers and config."
        print_line(console, pages)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # to remove the temporary folder
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


def _split(argv: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The folders, which stand before or after all flags, and TensorBoard's flags."""
    flags = [word.removeprefix("--logdir=") for word in argv if word != "--logdir"]  # TensorBoard's flag for the folder
    folders: list[str] = []
    after: list[str] = []
    while flags and not flags[0].startswith("-"):
        folders.append(flags.pop(0))
    while len(flags) > 1 and Path(flags[-1]).is_dir():
        after.insert(0, flags.pop())
    return [Path(word) for word in [*folders, *after] or ["runs"]], flags


@contextlib.contextmanager
def _log_folder(folders: Sequence[Path]) -> Iterator[Path]:
    """The folder that TensorBoard reads. It names each run by its path in there, so one run, or several folders, are linked
    into a temporary folder."""
    if len(folders) == 1 and not (folders[0] / "status.json").exists():
        yield folders[0]
        return
    paths = list(dict.fromkeys(folder.resolve() for folder in folders))
    outermost = [path for path in paths if not set(path.parents) & set(paths)]
    common = os.path.commonpath([path.parent for path in outermost])
    with tempfile.TemporaryDirectory(prefix="normexp-tensorboard-") as temporary:
        for path in outermost:
            link = temporary / path.relative_to(common)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
        yield Path(temporary)


def _configure(board: Any, arguments: Sequence[str]) -> None:
    """Parse TensorBoard's flags. Raises ConfigError instead of printing its help, which takes two screens."""
    with contextlib.redirect_stderr(io.StringIO()) as printed:
        try:
            board.configure(["tensorboard", *arguments])
            return
        except SystemExit as error:
            if not error.code:
                raise
        except ValueError as error:
            print("error:", error, file=printed)
    usage, _, problem = printed.getvalue().rpartition("error: ")
    known = re.findall(r"--\w+", usage)
    for flag in (word.partition("=")[0] for word in arguments if word.startswith("-")):
        if usage and not any(name.startswith(flag) for name in known):
            raise ConfigError(f"Unknown flag {show(flag)}.{suggest(flag, known)} tensorboard --help lists them.")
    problem = problem.removeprefix("argument ").replace("<lambda> ", "")
    raise ConfigError(f"TensorBoard can't start: {' '.join(problem.split())}")


def _expectations(folders: Sequence[Path]) -> Iterator[str]:
    """Lines on how TensorBoard shows no runs, and very many."""
    runs = sum(1 for folder in folders for _ in run_directories(folder, set(), []))
    if not runs:
        yield "No runs yet; they appear here after they start."
    if runs > MAX_SELECTED:
        pages = "All pages but TIME SERIES" if runs <= MAX_IN_SERIES else "TIME SERIES shows none at first, the others"
        yield f"{runs:,} runs. {pages} show the first {MAX_SELECTED}: select others there, or filter by name (norm=bn)."
        yield f"For means over seeds: normexp report {printable(shlex.join(map(str, folders)))} --html"


def _adapted(app: WSGI) -> WSGI:
    """Wrap a WSGI app: the first page opens with the most important charts pinned, and SCRIPT runs before TensorBoard's own."""
    pins = json.dumps([{"plugin": "scalars", "tag": tag} for tag in PINNED_TAGS], separators=(",", ":"))
    # Without smoothing: on a curve with few points, its end would be far from the last value. Without a fragment, so that a link
    # to another page keeps its own.
    target = f"?smoothing=0&pinnedCards={quote(pins)}"

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"].rpartition("/")[2]:
            case "" if not environ.get("QUERY_STRING"):
                start_response("302 Found", [("Location", target), ("Content-Length", "0")])
                return []
            case "" | "index.html":
                return _with_script(app, environ, start_response)
            case "normexp.js":
                headers = [("Content-Type", "text/javascript"), ("Content-Length", str(len(SCRIPT)))]
                start_response("200 OK", headers)
                return [SCRIPT.encode()]
        return app(environ, start_response)

    return serve


def _with_script(app: WSGI, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Respond with a page of the app, in which SCRIPT comes before the first script."""
    started: list[Any] = []
    page = b"".join(app(environ, lambda *arguments: started.extend(arguments[:2])))
    page = page.replace(b"<script ", b'<script src="normexp.js"></script><script ', 1)
    status, headers = started
    others = [(name, value) for name, value in headers if name.lower() != "content-length"]
    start_response(status, [*others, ("Content-Length", str(len(page)))])
    return [page]
