"""Make the README's pictures again: two networks of sigmoids, without a norm and with batch norm, and the report of a sweep.

    python scripts/pictures.py [--data-dir DIR] [--out docs]

Trains them as the README says (the sweep takes minutes), keeps the sheets of their histograms, and photographs TensorBoard's
pages and of the report's with Chromium (or Chrome), where there is one on the path.
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
"""By file: the page's address behind the server's, the window's size, and what of it is kept (left, top, right, bottom)."""


REPORT = (1400, 4400), (190, 2530, 1210, 3382)
"""The window's size for the page of `experiment=lr-range`, and what of it is kept."""


def train(folder: Path, data_dir: str) -> None:
    for norm in NORMS:
        more = [f"norm={norm}", f"name={norm}", f"runs_dir={folder}", f"data_dir={data_dir}"]
        subprocess.run([sys.executable, "-m", "normexp", "train", *TRAIN, *more], check=True)


@contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """The address of a TensorBoard for the runs in a folder."""
    command = [sys.executable, "-u", "-m", "normexp", "tensorboard", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield next(found[0] for line in server.stdout if (found := re.findall(r"http://\S+/", line)))
        finally:
            server.terminate()


def photograph(browser: str, address: str, size: tuple[int, int], path: Path) -> None:
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        more = [f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=30000", f"--screenshot={path.absolute()}"]
        subprocess.run([browser, *flags, *more, address], check=True, stderr=subprocess.DEVNULL, timeout=180)


def keep(path: Path, part: tuple[int, int, int, int] | None) -> None:
    """Cut a picture to the part that is shown, with few colours."""
    with Image.open(path) as taken:
        shown = taken.convert("RGB").crop(part) if part else taken.convert("RGB")
    shown.quantize(128).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("NORMEXP_DATA_DIR", "data"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs")
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        train(runs, arguments.data_dir)
        for norm in NORMS:
            shutil.copy(runs / norm / "histograms.png", arguments.out / f"histograms-{norm}.png")
        if browser is None:
            print(f"TensorBoard's pages are left as they are: there is none of {', '.join(BROWSERS)}.", file=sys.stderr)
            return
        with tensorboard(runs) as address:
            for name, (page, size, part) in PAGES.items():
                path = arguments.out / name
                photograph(browser, address + page, size, path)
                keep(path, part)
        sweep = runs / "lr-range"
        words = ["experiment=lr-range", f"runs_dir={folder}", f"data_dir={arguments.data_dir}"]
        subprocess.run([sys.executable, "-m", "normexp", "train", *words], check=True)
        subprocess.run([sys.executable, "-m", "normexp", "report", str(sweep), "--html"], check=True)
        size, part = REPORT
        photograph(browser, (sweep / "report.html").as_uri(), size, arguments.out / "report.png")
        keep(arguments.out / "report.png", part)
    print(f"pictures are in {arguments.out}")


if __name__ == "__main__":
    main()
