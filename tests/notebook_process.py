"""Run code cells of docs/tutorial.ipynb without Jupyter; print what each of them prints, and its number of figures, as JSON.

Arguments: the notebook, and beginnings of the ids of the cells to run.
"""

import ast
import contextlib
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from normexp.data.download import import_torchvision


class Image:
    """Stands for IPython's, which shows a file."""

    def __init__(self, *, filename: Path, width: int) -> None:
        assert Path(filename).read_bytes().startswith(b"\x89PNG")

    def __repr__(self) -> str:
        return "<IPython.core.display.Image object>"


def command(line: str) -> None:
    """`!`: run a command and print its output."""
    print(subprocess.run(shlex.split(line), capture_output=True, text=True, check=True).stdout)


def run(source: str, namespace: dict[str, object]) -> str:
    """Run a cell, and return all that it prints, and the value of its last line as Python's prompt shows it."""
    source = source.replace("from IPython.display import Image", "")
    if "import torchvision" in source:
        import_torchvision()  # the plain import fails for a torchvision that was built for another torch
    if source.startswith("!"):
        source = f"command(f{source[1:]!r})"
    *body, last = ast.parse(source).body
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "cell", "exec"), namespace)
        exec(compile(ast.Interactive([last]), "cell", "single"), namespace)
    return printed.getvalue()


def main(notebook: str, *beginnings: str) -> None:
    namespace: dict[str, object] = {"command": command, "Image": Image}
    ran = {}
    for cell in json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and cell["id"].startswith(beginnings):
            printed = run("".join(cell["source"]), namespace)
            ran[cell["id"]] = printed, len(plt.get_fignums())
            plt.close("all")
    json.dump(ran, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
