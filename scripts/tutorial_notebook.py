"""Run docs/tutorial.ipynb in place, in a folder of its own, and keep of its outputs what is the same on every machine.

Needs the packages of `pip install '.[notebook]'`; `make notebook` installs them.
"""

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"

IMPORT_TORCHVISION = "from normexp.data.download import import_torchvision; _ = import_torchvision()"
"""Runs first and is not kept: the plain import fails for a torchvision that was built for another torch."""

ANSI_COLOR = re.compile(r"\x1b\[[\d;]*m")


def main() -> None:
    os.environ["COLUMNS"] = "80"  # of the tables that commands print
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(IMPORT_TORCHVISION))
    with TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, resources=resources, record_timing=False, coalesce_streams=True).execute()
    del notebook.cells[0]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        cell.execution_count = number
        for output in cell.outputs:
            tidy(output, number, cell.metadata.get("alt"))
    notebook.metadata.language_info = {"name": "python"}  # without its version
    nbformat.validate(notebook)
    NOTEBOOK.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def tidy(output: nbformat.NotebookNode, number: int, alt: str | None) -> None:
    """Number an output as its cell, describe its image for those who can't see it, and remove colors of terminals."""
    if output.output_type == "execute_result":
        output.execution_count = number
    if output.output_type == "stream":
        lines = ANSI_COLOR.sub("", output.text).replace("\r\n", "\n").splitlines()
        output.text = "".join(f"{line.rstrip()}\n" for line in lines)
    elif alt and "image/png" in output.data:
        output.metadata.setdefault("image/png", {})["alt"] = alt


if __name__ == "__main__":
    main()
