"""What was found about a claim, as a JSON file: all that the page, the tables and other people need."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from normexp import NUMERICS, rundir
from normexp.claims.exact.base import Worked
from normexp.claims.judge import Cell, Judged, Judgement
from normexp.claims.schema import Claim
from normexp.claims.wording import amount, asked, cell_name, counted, factor, headline, unit
from normexp.config import yaml_files
from normexp.rundir import atomic, safe_read

FORMAT = 1

MOST = 2**26
"""Bytes of a verdict's file."""

SOURCES = ("compose", "config", "norms", "models", "data", "optim", "probes", "training", "claims/exact")
"""The parts of the package that a run's numbers come from."""


def code(config_dir: Path | None = None) -> str:
    """A mark of all that a run's numbers depend on beside its config: these parts of the package, the choices in configs/, those
    in a folder of the user's own, and torch's version."""
    package = Path(__file__).parents[1]
    files = [package / "streams.py", yaml_files.folder() / "train.yaml"]
    for part in SOURCES:
        files += sorted((package / part).glob("*.py"))
    for root in (yaml_files.folder(), *([config_dir] if config_dir else [])):
        files += sorted(
            path for path in root.glob("*/*.yaml") if path.parent.name not in ("claim", "experiment", "debug")
        )
    return _mark(files, f"{version('torch')} {NUMERICS}")


def judging() -> str:
    """A mark of the code that makes verdicts of numbers."""
    return _mark(sorted(Path(__file__).parent.glob("*.py")), version("scipy"))


def _mark(files: Iterable[Path], more: str) -> str:
    """Depends on what the files say, and not on their names or order: a module that is renamed computes the same."""
    contents = []
    for path in files:
        with suppress(OSError):  # what lies in a folder of the user's own may be no file
            content = safe_read.read(path, most=MOST)
            contents.append(_statements(content.decode()).encode() if path.suffix == ".py" else content)
    return hashlib.sha256(b"\0".join([more.encode(), *sorted(contents)])).hexdigest()[:8]


@cache
def _statements(source: str) -> str:
    """Python code without comments and docstrings, which no number depends on, and without imports, which name modules."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [each for each in node.body if not _is_text(each)]
    return ast.unparse(tree)


def _is_text(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def path_of(folder: Path, name: str, *, scale: str, quick: bool) -> Path:
    """Where the verdict of a claim lies, in the folder of all claims."""
    return folder / f"{name}{'.full' * (scale == 'full')}{'.quick' * quick}.json"


def verdict(
    claim: Claim,
    judgement: Judgement,
    *,
    series: list[dict[str, Any]],
    worked: Worked | None,
    code: str,
    runs: int,
    seconds: float,
    folder: Path | None,
    command: str,
) -> dict[str, Any]:
    """The content of the file. seconds: of training, or of computing. folder: of the runs."""
    content = {
        "format": FORMAT,
        "claim": claim.name,
        "kind": claim.kind,
        "statement": claim.statement,
        "source": claim.source,
        "explanation": claim.explanation,
        "scale": claim.scale,
        "quick": claim.quick,
        "verdict": judgement.verdict,
        "combine": claim.combine,
        "conditions": _finite([_condition(each) for each in judgement.judged]),
        "series": series,
        "tables": [
            {"title": t.title, "columns": list(t.columns), "rows": [list(r) for r in t.rows]} for t in worked.tables
        ]
        if worked
        else [],
        "drawing": worked.drawing if worked else None,
        "seeds": list(claim.seeds),
        "runs": runs,
        "seconds": seconds,
        "folder": None if folder is None else str(folder),
        "command": command,
        "made": rundir.now(),
        "versions": {
            **{name: version(name) for name in ("normexp", "torch", "numpy", "scipy")},
            "python": platform.python_version(),
            "machine": platform.machine(),
        },
        "rule": claim.mark,
        "code": code,
        "judging": judging(),
    }
    return {**content, "because": because(content)}


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Numbers that are not finite become null."""
    atomic.write_text(path, json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read(path: Path) -> dict[str, Any] | None:
    """None where there is none, or none that can be read."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(safe_read.read(path, most=MOST))
        if (
            isinstance(content, dict)
            and content.get("format") == FORMAT
            and isinstance(content.get("conditions"), list)
        ):
            return content
    return None


def is_fresh(content: Mapping[str, Any] | None, claim: Claim, code: str) -> bool:
    """Whether it says what the claim's file and the code of now would say."""
    now = {"rule": claim.mark, "code": code, "judging": judging()}
    return content is not None and all(content.get(key) == mark for key, mark in now.items())


def because(content: Mapping[str, Any]) -> str:
    """The cell that the verdict came from, in a sentence."""
    found = headline(content)
    if found is None:
        return ""
    condition, cell = found
    share = counted(content).rpartition(", ")[2]
    parts = [part for part in (cell_name(cell), share) if part]
    more = f" ({'; '.join(parts)})" if parts else ""
    came_out = cell["note"] if cell["verdict"] == "not comparable" else amount(condition, cell)
    beyond = condition.get("refuted_beyond")
    line = "" if beyond is None else f", and is refuted beyond {factor(condition) * beyond:g}"
    return f"{condition['what']}: {came_out}; the rule asks for {asked(condition)}{unit(condition)}{line}{more}."


def _condition(judged: Judged) -> dict[str, Any]:
    of = judged.condition
    return {
        "what": of.what,
        "decides": of.decides,
        "measure": of.measure.tag,
        "as": of.how,
        "take": of.take if of.over else None,
        "over": of.over,
        "arms": list(of.compare),
        "is": of.direction,
        "threshold": of.threshold,
        "margin": of.margin,
        "refuted_beyond": of.refuted_beyond,
        "cells": [_cell(cell) for cell in judged.cells],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "cell": dict(cell.cell),
        "verdict": cell.verdict,
        "effect": cell.effect,
        "low": cell.low,
        "high": cell.high,
        "level": cell.level,
        "effect_size": cell.effect_size,
        "n": max((len(of) for of in cell.values.values()), default=0),
        "values": cell.values,
        "chosen": cell.chosen,
        "note": cell.note,
    }


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {str(key): _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value
