"""Check and time normexp on a GPU, in at most 8 minutes and without network access.

    PYTHONPATH=. python scripts/gpu_check.py [--json FILE] [--parts NAME ...] [--quick]

On a machine without a GPU it does a dry run: every part runs once on the CPU, as small as possible, which tests this script and
measures nothing. --quick does as little on a GPU.

Checks: repeated and resumed runs are equal bit for bit; every model, norm, amp and compile agrees with the CPU, and so do the
probes; a sweep of 8 runs on one GPU. Timings: a step over that of a bare loop, and images per second by batch size, precision,
compile and memory format, next to the limits of the device. Trains on scikit-learn's digits and on random images. Each part
(scripts/gpu/) is a process with its own time limit, so a failure or a hang in one does not affect the others. The exit code is
1 if a check failed or a part ended early.

Requires torch with CUDA, the checkout (without installing it), and normexp's dependencies except torchvision. For a GPU machine
without network access, build wheels on a machine with the same Python version and platform:

    PACKAGES="google-crc32c hydra-core hydra-joblib-launcher joblib matplotlib numpy omegaconf orjson pillow protobuf pyyaml
        rich scikit-learn scipy tensorboard"
    pip wheel --wheel-dir wheels --constraint constraints.txt $PACKAGES
    pip install --no-index --find-links wheels $PACKAGES        # on the GPU machine

pip adds their dependencies: absl-py, antlr4-python3-runtime (which has no wheel on PyPI, so pip builds it), cloudpickle, grpcio,
Markdown, markdown-it-py, packaging, Pygments, setuptools, tensorboard-data-server, threadpoolctl, Werkzeug and so on.
The compiled parts also need triton, which torch's CUDA wheels include, and a C compiler.
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

BUDGET_SECONDS = 475
"""For all parts on a GPU, so that the check takes less than 8 minutes."""

LIMITS: dict[str, float | None] = {
    "device": 15,
    "determinism": 60,
    "resume": 60,
    "combinations": 35,
    "probes": 25,
    "sweep": 120,
    "loop": 40,
    "throughput": 30,
    "formats": 45,
    "compiled combinations": None,
    "compiled throughput": None,
}
"""Seconds after which a part is killed.

Parts with None come last and share the rest of the budget, because a compilation may take half a minute.
"""

GRACE_SECONDS = 5
"""Time before its limit at which a part starts nothing new."""

DRY_RUN_LIMIT = 120
"""Seconds for a part of a dry run, which takes a few seconds on an idle machine."""

MAX_OUTPUT_LINES = 12
"""Lines of a part's output to keep if it fails: the end of its traceback."""


def has_gpu() -> bool:
    """Whether torch sees a GPU. Asks in another process, because CUDA may hang."""
    code = "import torch; print(torch.cuda.is_available())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip() == "True"


def run_part(name: str, device: str, *, limit: float, quick: bool) -> dict[str, Any]:
    """Run a part in a process. After the limit (in seconds) it is killed with all its children.

    Returns its state, its rows, and the last lines of its output if it is not ok. State: ok, failed (a check failed), died (it
    ended with an error), or timed out.
    """
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as temporary:
        results, output = Path(temporary) / "results.jsonl", Path(temporary) / "output"
        words = [sys.executable, str(ROOT / "scripts" / "gpu" / "run_part.py"), name, f"--device={device}"]
        words += [f"--seconds={max(1.0, limit - GRACE_SECONDS)}", f"--results={results}", *["--quick"] * quick]
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
        lines = output.read_text(encoding="utf-8", errors="replace").splitlines()[-MAX_OUTPUT_LINES:]
    print(f"{name}: {state}, {seconds:.0f} s", file=sys.stderr, flush=True)
    return {
        "part": name,
        "state": state,
        "seconds": seconds,
        "rows": rows,
        "last_lines": [] if state == "ok" else lines,
    }


def run_on_gpu(names: Sequence[str], *, quick: bool) -> list[dict[str, Any]]:
    """Run the parts one after another, within the budget."""
    end = time.monotonic() + BUDGET_SECONDS
    done = []
    for position, name in enumerate(names):
        left = max(1.0, end - time.monotonic())
        limit = LIMITS[name]
        share = left / (len(names) - position) if limit is None else min(limit, left)
        done.append(run_part(name, "cuda", limit=share, quick=quick))
    return done


def dry_run(names: Sequence[str]) -> list[dict[str, Any]]:
    """Run the parts on the CPU, two at a time, starting with the last, which take longest."""
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(partial(run_part, device="cpu", limit=DRY_RUN_LIMIT, quick=True), reversed(names)))
    return done[::-1]


def show(parts: Sequence[dict[str, Any]], title: str) -> None:
    """Print a table of the parts with all measurements and failed checks."""
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
    """Format how many checks passed, and how close the worst of them came to its bound."""
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
