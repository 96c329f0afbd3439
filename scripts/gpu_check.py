"""Check normexp on a GPU, and time it there: in at most 8 minutes, without a network.

    PYTHONPATH=. python scripts/gpu_check.py [--json FILE] [--parts NAME ...] [--quick]

On a machine without a GPU it says so, and runs every part once on the CPU, as small as can be: no measurement, only a test of
this script. --quick does as little on a GPU.

Checks: the same run twice and a resumed run are the same to the last bit; every model, norm, amp and compile come close to
the CPU, and so do the probes; a sweep of 8 runs on one GPU. Timings: a step over that of a bare loop, images a second by batch
size, precision, compile and memory format, beside what the device can do. It trains on scikit-learn's digits and on random
images. Each part (scripts/gpu_parts.py) is a process with a time limit of its own, so a failure or a hang in one doesn't lose
the others. The exit code is 1 if a check failed or a part ended early.

It needs torch with CUDA, the checkout (nothing has to be installed from it), and the packages that normexp depends on but for
torchvision. For a GPU machine without a network, bring them along as wheels, made on a machine with a network and the same
Python version and platform:

    PACKAGES="google-crc32c hydra-core hydra-joblib-launcher joblib matplotlib numpy omegaconf orjson pillow protobuf pyyaml
        rich scikit-learn scipy tensorboard"
    pip wheel --wheel-dir wheels --constraint constraints.txt $PACKAGES
    pip install --no-index --find-links wheels $PACKAGES        # on the GPU machine

pip adds what they need in turn: absl-py, antlr4-python3-runtime (without a wheel on PyPI, so pip builds it), cloudpickle,
grpcio, Markdown, markdown-it-py, packaging, Pygments, setuptools, tensorboard-data-server, threadpoolctl, Werkzeug and so on.
Compiled parts also need triton, which torch's CUDA wheels bring, and a C compiler.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).with_name("bench")))
import measuring

ROOT = Path(__file__).parents[1]

BUDGET = 475
"""Seconds for all parts on a GPU."""

LIMITS: dict[str, float | None] = {
    "device": 30,
    "determinism": 60,
    "resume": 60,
    "combinations": 60,
    "probes": 30,
    "sweep": 60,
    "loop": 40,
    "throughput": 35,
    "formats": 55,
    "compiled combinations": None,
    "compiled throughput": None,
}
"""Seconds after which a part is killed; None shares what the others left of the budget. Those come last: a compilation may take
half a minute."""

GRACE = 5
"""Seconds before its limit at which a part starts nothing new."""

DRY_LIMIT = 120
"""Seconds for a part of a dry run, which takes a few unless the machine is busy."""

LAST_LINES = 12
"""Lines of a part's output to keep if it fails."""


def has_gpu() -> bool:
    """Whether torch sees a GPU; asked in another process, since CUDA may hang."""
    code = "import torch; print(torch.cuda.is_available())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip() == "True"


def run_part(name: str, device: str, *, limit: float, quick: bool) -> dict[str, Any]:
    """Run a part in a process, which is killed with all that it started once its limit is over.

    Returns its state (ok, failed: a check failed; died: it ended with an error; timed out), its rows, and if it is not ok the
    last lines of its output.
    """
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as temporary:
        results, output = Path(temporary) / "results.jsonl", Path(temporary) / "output"
        words = [sys.executable, str(ROOT / "scripts" / "gpu_parts.py"), name, f"--device={device}"]
        words += [f"--seconds={max(1.0, limit - GRACE)}", f"--results={results}", *["--quick"] * quick]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        start = time.monotonic()
        with output.open("wb") as file:
            process = subprocess.Popen(
                words,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=temporary,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        seconds = time.monotonic() - start
        text = results.read_text(encoding="utf-8") if results.exists() else ""
        rows = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        failed = any(row["state"] == "failed" for row in rows)
        state = "timed out" if code is None else "died" if code else "failed" if failed else "ok"
        lines = output.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
    print(f"{name}: {state}, {seconds:.0f} s", file=sys.stderr, flush=True)
    return {
        "part": name,
        "state": state,
        "seconds": seconds,
        "rows": rows,
        "last_lines": [] if state == "ok" else lines,
    }


def run_on_gpu(names: Sequence[str], *, quick: bool) -> list[dict[str, Any]]:
    """One part after another, within the budget."""
    end = time.monotonic() + BUDGET
    done = []
    for position, name in enumerate(names):
        left = max(1.0, end - time.monotonic())
        limit = LIMITS[name]
        share = left / (len(names) - position) if limit is None else min(limit, left)
        done.append(run_part(name, "cuda", limit=share, quick=quick))
    return done


def dry_run(names: Sequence[str]) -> list[dict[str, Any]]:
    """Every part on the CPU, two at a time, beginning with the last, which take longest: nothing is measured."""
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(partial(run_part, device="cpu", limit=DRY_LIMIT, quick=True), reversed(names)))
    return done[::-1]


def show(parts: Sequence[dict[str, Any]], title: str) -> None:
    """Print a table of the parts: what was measured, and of the checks those that failed."""
    table = Table("part", "what", box=None, pad_edge=False, title=title, title_justify="left")
    table.add_column("result", justify="right")
    table.add_column("detail")
    for part in parts:
        table.add_row(
            part["part"], "", f"{part['state']}, {part['seconds']:.0f} s", _summary(part["rows"]), style="bold"
        )
        for row in part["rows"]:
            if row["state"] != "ok":
                value = "" if row["value"] is None else f"{row['value']:.4g} {row['unit']}"
                result = value if row["state"] == "measured" else f"{row['state']} {value}".strip()
                table.add_row("", row["what"], result, row["detail"])
        if part["state"] in ("died", "timed out"):
            for line in part["last_lines"]:
                table.add_row("", "", "", line)
    Console(width=None if sys.stdout.isatty() else 160, markup=False, highlight=False).print(table)


def _summary(rows: Sequence[dict[str, Any]]) -> str:
    """How many checks passed, and how close the worst of those with a bound came to it."""
    checks = [row for row in rows if row["state"] in ("ok", "failed")]
    shares = [row["value"] for row in checks if row["unit"] == "of the bound"]
    text = f"{sum(row['state'] == 'ok' for row in checks)} of {len(checks)} checks ok" if checks else ""
    return text + (f", the worst at {max(shares):.2g} of its bound" if shares else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="the file to write, or a folder, which gets gpu_check.json")
    parser.add_argument("--parts", nargs="+", choices=LIMITS, default=list(LIMITS), help="only these parts")
    parser.add_argument("--quick", action="store_true", help="as little as shows that the script works: no measurement")
    arguments = parser.parse_args()
    target = None if arguments.json is None else measuring.json_file(arguments.json, "gpu_check")
    gpu = has_gpu()
    if not gpu:
        print("torch sees no GPU here: this is a dry run on the CPU, which measures nothing.")
    parts = run_on_gpu(arguments.parts, quick=arguments.quick) if gpu else dry_run(arguments.parts)
    bad = [part["part"] for part in parts if part["state"] != "ok"]
    show(parts, "normexp on a GPU" if gpu else "dry run on the CPU (no measurement)")
    if target is not None:
        content = {"machine": measuring.machine(), "gpu": gpu, "quick": arguments.quick or not gpu, "parts": parts}
        measuring.write_json(target, content)
    if left_out := sum(row["state"] == "left out" for part in parts for row in part["rows"]):
        print(f"{left_out} results were left out for lack of time")
    print(f"not ok: {', '.join(bad)}" if bad else "all parts are ok")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
