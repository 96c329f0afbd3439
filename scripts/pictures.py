"""Regenerate the README's pictures: two sigmoid networks, without a norm and with batch norm, and the report of a sweep.

    python scripts/pictures.py [--data-dir DIR] [--out docs]

Trains as the README describes (the sweep takes minutes) and copies the histogram sheets. If Chromium or Chrome is on the path,
takes screenshots of TensorBoard's pages and the report.
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

from PIL import Image

NORMS = ("none", "bn")
TRAIN = ["data=mnist", "model=mlp", "model.depth=6", "activation=sigmoid", "epochs=3"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

PAGES = {
    "tensorboard.png": ("?tagFilter=activation_in%2Ffc6%24#timeseries", (1400, 560), None),
    "charts.png": ("?x#custom_scalars", (1400, 4000), (360, 2620, 1110, 3610)),
}
"""By file: the page's address relative to the server, the window size, and the crop box (left, top, right, bottom)."""

REPORT = (1400, 4400), (190, 2530, 1210, 3382)
"""The window size for the report of `experiment=lr-range`, and the crop box."""


def train(folder: Path, data_dir: str) -> None:
    for norm in NORMS:
        more = [f"norm={norm}", f"name={norm}", f"runs_dir={folder}", f"data_dir={data_dir}"]
        subprocess.run([sys.executable, "-m", "normexp", "train", *TRAIN, *more], check=True)


@contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """Serve the runs in a folder with TensorBoard. Yields its address."""
    command = [sys.executable, "-u", "-m", "normexp", "tensorboard", str(folder), "--port", "0"]
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


def crop(path: Path, box: tuple[int, int, int, int] | None) -> None:
    """Crop a picture in place, and reduce its colours to make the file small."""
    with Image.open(path) as image:
        cropped = image.convert("RGB").crop(box) if box else image.convert("RGB")
    cropped.quantize(128).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("NORMEXP_DATA_DIR", "data"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs")
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        train(runs, arguments.data_dir)
        for norm in NORMS:
            shutil.copy(runs / norm / "histograms.png", arguments.out / f"histograms-{norm}.png")
        if browser is None:
            print(f"TensorBoard's pages are left as they are: there is none of {', '.join(BROWSERS)}.", file=sys.stderr)
            return
        with tensorboard(runs) as address:
            for name, (page, size, box) in PAGES.items():
                path = arguments.out / name
                screenshot(browser, address + page, size, path)
                crop(path, box)
        sweep = runs / "lr-range"
        words = ["experiment=lr-range", f"runs_dir={folder}", f"data_dir={arguments.data_dir}"]
        subprocess.run([sys.executable, "-m", "normexp", "train", *words], check=True)
        subprocess.run([sys.executable, "-m", "normexp", "report", str(sweep), "--html"], check=True)
        size, box = REPORT
        screenshot(browser, (sweep / "report.html").as_uri(), size, arguments.out / "report.png")
        crop(arguments.out / "report.png", box)
    print(f"pictures are in {arguments.out}")


if __name__ == "__main__":
    main()
