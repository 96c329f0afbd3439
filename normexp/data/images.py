"""Decode image files of any common format to bytes of one size, in parallel."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from normexp.config import printable, show
from normexp.rundir import safe_read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
NAMED_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WebP", "TIFF", "PPM")
FORMATS = tuple(map(str.upper, NAMED_FORMATS))  # Pillow would run Ghostscript for EPS

MAX_FILE_BYTES = 100_000_000
MAX_PIXELS = 50_000_000  # a small file can claim any size, and each thread decodes one at a time
CHUNK = 8  # images per task
PROGRESS_SECONDS = 5.0


def header(path: Path) -> tuple[int, int, bool]:
    """Height and width of an image, and whether it is gray. Raises ValueError with the reason if it can't be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = _opened(path)
        except Exception as error:  # a damaged file can raise nearly anything
            raise ValueError(_reason(error)) from error
    return image.height, image.width, image.mode[0] in "1LIF" and image.mode != "LAB"


def decode(files: Sequence[Path], images: NDArray[np.uint8], *, what: str) -> dict[int, str]:
    """Decode the files into images (N, C, H, W), with C = 1 (gray) or 3 (RGB). Returns the reasons why files could not be
    decoded, by their index. Images of another size are scaled and cropped around the center. Progress goes to standard error.
    """

    def chunk(start: int) -> dict[int, str]:
        problems = {}
        for i in range(start, min(start + CHUNK, len(files))):
            if stopped.is_set():  # Ctrl-C waits for this thread
                break
            try:
                images[i] = _pixels(files[i], *images.shape[1:])
            except Exception as error:  # a damaged file can raise nearly anything
                problems[i] = _reason(error)
        return problems

    print(f"decoding {len(files):,} images of {what}", file=sys.stderr)
    problems: dict[int, str] = {}
    stopped = threading.Event()
    shown = time.monotonic()
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd files; those that can't be decoded are reported
        try:
            for done, part in enumerate(pool.map(chunk, range(0, len(files), CHUNK)), start=1):
                problems |= part
                if time.monotonic() - shown > PROGRESS_SECONDS:
                    shown = time.monotonic()
                    print(f"decoded {min(1, done * CHUNK / len(files)):.0%}", file=sys.stderr)
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)
    return problems


def _opened(path: Path) -> Image:
    from PIL import Image

    image = Image.open(io.BytesIO(safe_read.read(path, max_bytes=MAX_FILE_BYTES)), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"too large: {image.width}x{image.height} pixels")
    return image


def _pixels(path: Path, channels: int, height: int, width: int) -> NDArray[np.uint8]:
    """Values (channels, height, width) of an image."""
    import numpy as np
    from PIL import Image, ImageOps

    image: Image.Image = _opened(path)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if image.mode.startswith("I"):  # 16 bits; Pillow would clip them at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), method=Image.Resampling.BICUBIC)
    values = np.asarray(image)
    return values[None] if channels == 1 else values.transpose(2, 0, 1)


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        return "too large"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return show(printable(text or type(error).__name__), 80)
