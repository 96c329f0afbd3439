"""Packages import downwards, without cycles, and heavy libraries only where they belong."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

ORDER = [
    "__main__",
    "api",  # the functions of `import normexp`
    "cli",
    "commands",  # one file for each command: parse, call, print
    "bench",  # the cost of norms
    "claims",  # statements about norms: their runs, rules and verdicts
    "sweeps",  # a grid: planned, launched, survived, summarised
    "watching",  # probes on networks that normexp did not build
    "training",  # one run: build, step, evaluate, checkpoint, resume
    "report",  # tables, figures and the page of runs
    "compose",  # the words of argv, composed by Hydra, to a validated Config
    "sinks",  # where measurements go
    "probes",  # what is measured inside a network
    "models",
    "optim",
    "norms",
    "weights",  # normalizations of weights
    "data",
    "plotting",  # colors, styles and canvases of all figures
    "html",  # the base of all HTML pages
    "console",
    "metrics",  # names, units and direction of metrics
    "records",  # what probes hand to sinks
    "registry",  # how a package collects its components
    "stats",  # means and intervals over seeds
    "streams",  # seeds of independent random streams
    "rundir",  # a run directory: layout, status, readers, locks, atomic writes
    "config",  # the typed config, its reader, its messages
]
"""Top to bottom: a package imports only from those below it."""

HEAVY = {
    "torch": {
        "api",
        "training",
        "models",
        "norms",
        "weights",
        "probes",
        "data",
        "optim",
        "bench",
        "sinks",
        "watching",
        "claims.exact",
    },
    "torchvision": {"data"},
    "hydra": {"compose", "sweeps", "commands.train", "bench.cases"},
    "matplotlib": {"plotting", "report.figures", "claims", "bench"},
    "sklearn": {"data", "claims.exact"},
}
"""Libraries that take a second to import, and the packages or modules that may import them."""


def modules() -> dict[str, Path]:
    """Paths by dotted name, without `normexp.`: 'models.layer', and 'models' for its __init__."""
    found = {}
    for path in (ROOT / "normexp").rglob("*.py"):
        parts = path.relative_to(ROOT / "normexp").with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    del found["__init__"]
    return found


MODULES = modules()


@cache
def imports(name: str) -> frozenset[str]:
    """Dotted names that a module imports anywhere, in functions and under TYPE_CHECKING too."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def own_imports(name: str) -> set[str]:
    """The modules of normexp among them."""
    found = set()
    for dotted in imports(name):
        parts = dotted.split(".")
        prefixes = (".".join(parts[1:end]) for end in range(len(parts), 1, -1))
        if parts[0] == "normexp":
            found |= {next((prefix for prefix in prefixes if prefix in MODULES), name)}
    return found - {name}


def package(name: str) -> str:
    return name.partition(".")[0]


def test_every_package_has_its_place():
    assert {package(name) for name in MODULES} == set(ORDER)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_downwards(name):
    allowed = ORDER[ORDER.index(package(name)) :]
    upward = [other for other in own_imports(name) if package(other) not in allowed]
    assert not upward, f"{name} imports from above: {upward}"


def test_no_modules_import_each_other():
    try:
        TopologicalSorter({name: own_imports(name) for name in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("library", HEAVY)
def test_heavy_libraries_are_imported_only_where_they_belong(library):
    elsewhere = [
        name
        for name in MODULES
        if any(dotted.split(".")[0] == library for dotted in imports(name))
        and not any(name == place or name.startswith(f"{place}.") for place in HEAVY[library])
    ]
    assert not elsewhere
