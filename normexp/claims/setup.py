"""Setup of an experiment in short: data, network, arms and axes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from normexp.claims.schema import Claim, Value
from normexp.config import printable, yaml_files
from normexp.report.groups import format_value

if TYPE_CHECKING:
    from normexp.claims.effects import RunKey

DATA_NAMES = {
    **{
        "mnist": "MNIST",
        "fashion_mnist": "Fashion-MNIST",
        "kmnist": "KMNIST",
        "emnist": "EMNIST",
        "mnist1d": "MNIST-1D",
    },
    **{"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN"},
}

UNIMPORTANT = ("data=", "data.path=", "probe", "eval_every", "eval_samples", "log_every", "log_histograms")
"""Beginnings of overrides that don't help to understand an experiment: shown elsewhere, or about what is recorded."""


def describe_setup(claim: Claim, runs: Collection[RunKey] = ()) -> dict[str, str]:
    """{'data': 'digits', 'base': 'model=mlp steps=100', 'arms': 'none, bn', 'lr': '0.01, 0.1'}; empty for exact claims.

    runs: those that were trained, which may have values of an axis beyond those of the file.
    """
    if claim.sweep is None:
        return {}
    base, arms, axes = claim.sweep.base, claim.sweep.arms, claim.sweep.axes
    varied = [*arms.values(), *(overrides for axis in axes.values() for overrides in axis.values())]
    names = [name for overrides in varied for name in _values("data", overrides)]
    names = names or [claim.data] * bool(claim.data) or list(_values("data", base))[-1:]
    names = names or [yaml_files.default_choice("data") or ""]
    steps = any(condition.measure.reaches is not None for condition in claim.rule)  # counted between evaluations
    hidden = tuple(name for name in UNIMPORTANT if not (steps and name == "eval_every"))
    last = {override.partition("=")[0]: override for override in base if not override.startswith(hidden)}
    shown = {
        "data": ", ".join(map(data_name, dict.fromkeys(names))),
        "base": " ".join(last.values()),
        "arms": ", ".join(_arm(arm, overrides) for arm, overrides in arms.items()),
        **{axis: ", ".join(map(format_value, _tried(axis, values, runs))) for axis, values in axes.items()},
    }
    return {printable(term): printable(value) for term, value in shown.items() if value}


def data_name(data: str) -> str:
    """'Fashion-MNIST' for a choice of `data`; the last part of the path of a folder or file."""
    return DATA_NAMES.get(data) or Path(data).name


def _tried(axis: str, values: Collection[Value], runs: Collection[RunKey]) -> list[Value]:
    added = {dict(point)[axis] for _, point, _ in runs} - {*values}
    return sorted([*values, *added], key=float) if added else list(values)  # type: ignore[arg-type]  # only numbers are added


def _values(key: str, overrides: Iterable[str]) -> Iterable[str]:
    return (value for name, _, value in (override.partition("=") for override in overrides) if name == key)


def _arm(arm: str, overrides: Iterable[str]) -> str:
    """'bn', or 'bn-late (norm=bn model.norm_position=post)' if its name doesn't say it."""
    text = " ".join(overrides)
    return arm if text in ("", f"norm={arm}") else f"{arm} ({text})"
