"""Make the README's pictures again: two networks of sigmoids, without a norm and with batch norm.

    python scripts/pictures.py [--data-dir DIR] [--out docs]

Trains them as the README says, keeps the sheets of their histograms, and takes pictures of TensorBoard's pages with Chromium
(or Chrome), where there is one on the path.
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
                with Image.open(path) as taken:
                    shown = taken.convert("RGB").crop(part) if part else taken.convert("RGB")
                shown.quantize(128).save(path, optimize=True)
    print(f"pictures are in {arguments.out}")


if __name__ == "__main__":
    main()
