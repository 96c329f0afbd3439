"""Exact claims for tests: their files, results, and the conditions that fail."""

from functools import cache
from typing import Any

from omegaconf import OmegaConf

from normexp.claims.exact import EXACT
from normexp.claims.exact.base import ExactResult
from normexp.config import yaml_files


@cache
def claim(name: str) -> Any:
    return OmegaConf.load(yaml_files.folder() / "claim" / f"{name}.yaml")


@cache
def computed(name: str, seed: int) -> ExactResult:
    return EXACT[name].compute(seed)


def holds(condition: Any, number: float) -> bool:
    match condition["is"]:
        case "<=":
            return bool(number <= condition.confirm)
        case ">=":
            return bool(number >= condition.confirm)
        case "within":
            return bool(abs(number - condition.get("center", 0.0)) <= condition.confirm)
    raise AssertionError(condition)


def failing(name: str, numbers: dict[str, float]) -> set[str]:
    return {condition.measure for condition in claim(name).rule if not holds(condition, numbers[condition.measure])}
