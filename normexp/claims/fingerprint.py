"""Fingerprints of the code that a verdict depends on, to tell whether the verdict is stale."""

import ast
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from normexp import NUMERICS
from normexp.claims.schema import Claim
from normexp.claims.verdict import Verdict
from normexp.config import yaml_files
from normexp.rundir import safe_read

MAX_BYTES = 2**26
"""Limit on a file in the user's --config-dir, which may hold anything."""

JUDGING = ("schema", "decide", "effects", "grid", "judge", "measure", "evaluations")
"""Modules of this package that decide an outcome. The others read files, print and draw."""

NUMERIC_PACKAGES = ("compose", "config", "norms", "models", "data", "optim", "probes", "training")
"""Packages that a run's numbers come from."""


def code_fingerprint(config_dir: Path | None = None, claim: Claim | None = None) -> str:
    """Hash of everything but the config that a run's numbers depend on: code, yaml files of groups (including the user's) and
    torch's version. The same for all experiments; with an exact claim, also of the code of its own check."""
    package = Path(__file__).parents[1]
    files = [package / "streams.py", yaml_files.folder() / "train.yaml"]
    files += [path for part in NUMERIC_PACKAGES for path in (package / part).glob("*.py")]
    for root in (yaml_files.folder(), *([config_dir] if config_dir else [])):
        files += [path for path in root.glob("*/*.yaml") if path.parent.name not in ("claim", "experiment", "debug")]
    runs = _fingerprint(files, f"{version('torch')} {NUMERICS}")
    if claim is None or claim.kind == "experiment":
        return runs
    checks = Path(__file__).parent / "exact"
    return _fingerprint([checks / "base.py", checks / f"{claim.name.replace('-', '_')}.py"], runs)


def judging_fingerprint() -> str:
    """Hash of the code that judges a run's numbers."""
    claims = Path(__file__).parent
    return _fingerprint([claims / f"{name}.py" for name in JUDGING], version("scipy"))


def outdated_by(verdict: Verdict, claim: Claim, code: str) -> str:
    """A sentence on the change that outdates a verdict, and on what running the claim again takes; empty if it is fresh.

    code: the claim's current code fingerprint. Of several changes, the one that costs most.
    """
    exact = claim.kind == "exact"
    if verdict.code != code and not exact:
        return "The code that the runs depend on has changed: claims run trains them again."
    if verdict.rule != claim.fingerprint and not exact:
        return "The claim's file has changed: claims run judges it again and trains the runs that are missing."
    if (verdict.rule, verdict.code, verdict.judging) == (claim.fingerprint, code, judging_fingerprint()):
        return ""
    if exact:
        return "The claim's file or the code has changed: claims run computes it again, in seconds."
    return "Only the code that judges has changed: claims run judges the runs again, usually in seconds."


def is_fresh(verdict: Verdict, claim: Claim, code: str) -> bool:
    """Whether a verdict was reached with the claim's current file and the current code."""
    return not outdated_by(verdict, claim, code)


def is_complete(verdict: Verdict, claim: Claim, max_seeds: int | None) -> bool:
    """Whether no cell of a verdict could get more seeds."""
    cells = [cell for condition, cell in verdict.cells if condition.decides]
    used = verdict.max_seeds or claim.looks[-1]
    if claim.combine == "any" and verdict.outcome == "confirmed":
        return True
    return all(cell.outcome != "undecided" for cell in cells) or not any(
        used < n <= (max_seeds or n) for n in claim.looks
    )


def _fingerprint(files: Iterable[Path], salt: str) -> str:
    """Hash of the files' contents, whatever their names and order: a renamed module computes the same."""
    contents = []
    for path in files:
        with suppress(OSError):  # anything may lie in the user's folder
            content = bytes(safe_read.read(path, max_bytes=MAX_BYTES))
            contents.append(_statements(content.decode()) if path.suffix == ".py" else _without_comments(content))
    return hashlib.sha256(b"\0".join([salt.encode(), *sorted(contents)])).hexdigest()[:8]


@cache
def _statements(source: str) -> bytes:
    """Python source without comments, docstrings, imports and the messages of errors: no number depends on those."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef():
                node.body = [statement for statement in node.body if not _is_inert(statement)]
            case ast.Raise(exc=ast.Call() as error):
                error.args, error.keywords = [], []
    return ast.unparse(tree).encode()


def _without_comments(content: bytes) -> bytes:
    """The tokens of a yaml file; its content as it is if it is not valid yaml."""
    import yaml

    try:
        tokens = list(yaml.scan(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, ValueError, RecursionError):
        return content
    parts = [(type(token).__name__, getattr(token, "value", None), getattr(token, "plain", None)) for token in tokens]
    return repr(parts).encode()


def _is_inert(node: ast.stmt) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
            return True
    return False
