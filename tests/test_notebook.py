"""docs/tutorial.ipynb runs, shows what it says, and has the outputs of its cells."""

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import docs_notebook
import pytest

import normexp
from tests.conftest import ROOT

PATH = ROOT / "docs" / "tutorial.ipynb"
CELLS = json.loads(PATH.read_text(encoding="utf-8"))["cells"]
CODE = {cell["id"]: cell for cell in CELLS if cell["cell_type"] == "code"}
VOLATILE = r"/(home|root|tmp|usr|var|opt|Users)/|[A-Z]:\\|site-packages|\x1b|\d{4}-\d\d-\d\d|\d\d:\d\d|0x[0-9a-f]{6}"

KEYS = {"markdown": set(), "code": {"execution_count", "outputs"}}
OUTPUT_KEYS = {
    "stream": {"name", "text"},
    "display_data": {"data", "metadata"},
    "execute_result": {"data", "metadata", "execution_count"},
}
"""Of format 4.5; `make notebook` also checks the notebook against the published schema."""


def test_the_file_is_a_valid_notebook():
    notebook = json.loads(PATH.read_text(encoding="utf-8"))
    assert notebook.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)
    for cell in CELLS:
        assert cell.keys() == {"cell_type", "id", "metadata", "source"} | KEYS[cell["cell_type"]]
        assert re.fullmatch(r"[a-z0-9-]{1,64}", cell["id"])
        assert all(isinstance(line, str) for line in cell["source"])


def test_every_code_cell_has_outputs_that_fit_every_machine():
    size = 0
    assert [cell["execution_count"] for cell in CODE.values()] == list(range(1, len(CODE) + 1))
    for name, cell in CODE.items():
        assert cell["outputs"], f"{name} has no output: make notebook"
        for output in cell["outputs"]:
            assert output.keys() == {"output_type"} | OUTPUT_KEYS[output["output_type"]], name  # an error has others
            assert output.get("name") != "stderr", f"{name} warns"
            assert not re.search(VOLATILE, text_of(output)), name
            if png := output.get("data", {}).get("image/png"):
                size += len(base64.b64decode(png))
                assert output["metadata"]["image/png"]["alt"] == cell["metadata"]["alt"], name
    assert 0 < size < 300_000


def text_of(output):
    return "".join(output.get("text") or output["data"]["text/plain"])


def execute(*beginnings):
    """Run cells in a process of their own, and compare what they print with the outputs in the file, but for numbers."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "PYTHONUTF8": "1"}
    command = [sys.executable, str(ROOT / "tests/notebook_process.py"), str(PATH), *beginnings]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ran = json.loads(done.stdout)
    for name, (printed, figures) in ran.items():
        outputs = CODE[name]["outputs"]
        texts = [text_of(output) for output in outputs if output["output_type"] != "display_data"]
        assert without_numbers(printed) == without_numbers("".join(texts)), f"{name} has changed: make notebook"
        assert figures == len(outputs) - len(texts), name
    return ran.keys()


def without_numbers(text):
    number = r"-?\d+(\.\d+)?(e[-+]?\d+)?"
    return " ".join(re.sub(rf"{number}( to {number})?", "#", text).split())


def check_sigmoids():
    none, bn = (normexp.load(f"runs/sigmoid-{norm}") for norm in ("none", "bn"))
    assert none.metrics["test/accuracy"] < 0.2
    assert bn.metrics["test/accuracy"] > 0.9
    lost, kept = (run.history("grad_norm/fc1", "grad_norm/fc6") for run in (none, bn))
    assert lost["grad_norm/fc6"][0] > 1000 * lost["grad_norm/fc1"][0]
    assert 0.2 < kept["grad_norm/fc6"][0] / kept["grad_norm/fc1"][0] < 5


def test_the_first_section_and_the_own_norm_run_and_show_what_the_text_says():
    assert len(execute("sigmoid-", "own-register")) == 6
    check_sigmoids()


@pytest.mark.long
def test_all_cells_run_and_show_what_the_text_says():
    assert execute("") == CODE.keys()
    check_sigmoids()
    grid = normexp.load_runs("runs/grid")

    def accuracies(**keys):
        return [run.metrics["test/accuracy"] for run in grid.filter(**keys)]

    assert min(accuracies(norm="bn")) > 0.9
    assert max(accuracies(norm="none", lr=0.01)) < 0.8
    assert max(accuracies(norm=["none", "ln"], lr=1)) < 0.6
    assert json.loads(Path("runs/claims/unit-moments.json").read_text())["verdict"] == "confirmed in part"
    ratios = normexp.load("runs/resnet18").history("batch_var_ratio/bn1")["batch_var_ratio/bn1"]
    assert ratios[0] < 0.2
    assert 0.5 < ratios[-1:] < 2


def test_the_site_has_a_page_of_it():
    page, images = docs_notebook.notebook_page(PATH)
    assert page.startswith("# normexp in a notebook\n")
    assert "```python\nimport sys\n" in page
    assert '```sh\n!"{sys.executable}" -m normexp claims run unit-moments\n```' in page
    assert '<div class="output" markdown="1">\n\n```text\nRuns(24 completed)\n```\n\n</div>' in page
    assert page.count("![") == len(images) == len(re.findall(r"!\[.+\]\(notebook-\d\.png\)", page)) > 4
    assert all(png.startswith(b"\x89PNG") for png in images.values())
    links = re.findall(r"\]\(([\w-]+\.(?:md|ipynb))\)", page)
    assert len(links) > 5
    assert all((ROOT / "docs" / link).is_file() for link in links)
