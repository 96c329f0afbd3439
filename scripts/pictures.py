"""Regenerate the pictures in docs/: two sigmoid networks, without a norm and with batch norm, and figures of two sweeps.

    python scripts/pictures.py [--data-dir DIR] [--out docs] [--no-sweep]

Draws docs/norms.svg (scripts/norm_picture.py). Trains the runs of the README (a minute) and the sweeps of docs/tutorial.md and
docs/reports.md (several minutes), and copies the histogram sheets. If Chromium or Chrome is on the path, takes screenshots of
TensorBoard's pages and of parts of the reports.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from norm_picture import draw
from PIL import Image, ImageChops

NORMS = ("none", "bn")
TRAIN = ["data=mnist", "model=mlp", "model.depth=6", "activation=sigmoid", "epochs=3"]
GRID = ["-m", "norm=none,bn,ln,gn", "lr=0.01,0.1,1", "seed=0,1,2", "name=lr-grid"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

PAGES = {
    "tensorboard.png": ("?smoothing=0&tagFilter=activation_in%2Ffc6%24#timeseries", (1400, 560), None),
    "charts.png": ("?x#custom_scalars", (1400, 4000), (360, 2636, 1110, 3610)),
}
"""By file: the page's address relative to the server, the window size, and the crop box (left, top, right, bottom)."""

NOT_ON_PICTURES = "nav, header, h2, p, figcaption"
TWO_RUNS = f"{NOT_ON_PICTURES}, section:not(#gradients, #activations), #gradients figure + figure"
SWEEP = f"{NOT_ON_PICTURES}, section:not(#sweep)"
"""CSS selectors of what to hide on the page of a report."""

WIDTH, MARGIN = 1060, 12
"""Window width for the page of a report, and the margin around what is left of it. In pixels."""


def normexp(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "normexp", *words], check=True)


@contextmanager
def tensorboard(*runs: Path) -> Iterator[str]:
    """Serve runs with TensorBoard. Yields its address."""
    command = [sys.executable, "-u", "-m", "normexp", "tensorboard", *map(str, runs), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield next(match[0] for line in server.stdout if (match := re.search(r"http://\S+/", line)))
        finally:
            server.terminate()


def screenshot(browser: str, address: str, size: tuple[int, int], path: Path) -> None:
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        more = [f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=30000", f"--screenshot={path.absolute()}"]
        subprocess.run([browser, *flags, *more, address], check=True, stderr=subprocess.DEVNULL, timeout=180)


def screenshot_part(browser: str, page: Path, hidden: str, path: Path) -> None:
    """Screenshot of the page of a report without the elements that match `hidden`, cropped to what is left."""
    part = page.with_name("part.html")
    text = page.read_text(encoding="utf-8")
    part.write_text(text.replace("</style>", f"{hidden} {{ display: none !important; }}</style>", 1), encoding="utf-8")
    screenshot(browser, part.absolute().as_uri(), (WIDTH, 4000), path)
    with Image.open(path) as image:
        colors = image.convert("RGB")
    box = ImageChops.difference(colors, Image.new("RGB", colors.size, "white")).getbbox()
    assert box is not None, f"nothing of {page} is left"
    crop(path, (box[0] - MARGIN, box[1] - MARGIN, box[2] + MARGIN, box[3] + MARGIN))


def crop(path: Path, box: tuple[int, int, int, int] | None) -> None:
    """Crop a picture in place, and reduce its colors to make the file small."""
    with Image.open(path) as image:
        cropped = image.convert("RGB").crop(box) if box else image.convert("RGB")
    cropped.quantize(128).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("NORMEXP_DATA_DIR", "data"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs")
    parser.add_argument("--no-sweep", action="store_true", help="leave report.png and paper-figure.png as they are")
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    (arguments.out / "norms.svg").write_text(draw(), encoding="utf-8")
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with tempfile.TemporaryDirectory() as folder:
        common = [f"runs_dir={folder}", f"data_dir={arguments.data_dir}"]
        runs = [Path(folder) / norm for norm in NORMS]
        for norm, run in zip(NORMS, runs, strict=True):
            normexp("train", *TRAIN, f"norm={norm}", f"name={norm}", *common)
            shutil.copy(run / "histograms.png", arguments.out / f"histograms-{norm}.png")
        if browser is None:
            sys.exit(f"No screenshots: none of {', '.join(BROWSERS)} is on the path.")
        with tensorboard(*runs) as address:
            for name, (page, size, box) in PAGES.items():
                screenshot(browser, address + page, size, arguments.out / name)
                crop(arguments.out / name, box)
        report = Path(folder) / "report.html"
        normexp("report", *map(str, runs), "--html", str(report))
        screenshot_part(browser, report, TWO_RUNS, arguments.out / "two-runs.png")
        if not arguments.no_sweep:
            sweep = Path(folder) / "lr-range"
            normexp("train", "experiment=lr-range", *common)
            normexp("report", str(sweep), "--html")
            screenshot_part(browser, sweep / "report.html", SWEEP, arguments.out / "report.png")
            normexp("train", *GRID, *common)
            figures = Path(folder) / "figures"
            normexp("report", str(Path(folder) / "lr-grid"), "--figures", str(figures), "--names")
            with Image.open(figures / "curve-val-accuracy.png") as figure:
                figure.reduce(2).save(arguments.out / "paper-figure.png")
            crop(arguments.out / "paper-figure.png", None)
    print(f"pictures are in {arguments.out}")


if __name__ == "__main__":
    main()
