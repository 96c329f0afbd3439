"""A verdict's file, as far as it is one: what has another shape than it should is left out, so that nothing trips over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sound(verdict: Any) -> dict[str, Any]:
    """The verdict with lists where lists are expected, and mappings where mappings are. Texts and numbers stay as they are."""
    of = _mapping(verdict)
    return of | {
        "conditions": [_condition(each) for each in _mappings(of.get("conditions"))],
        "series": [_series(each) for each in _mappings(of.get("series"))],
        "tables": [_table(each) for each in _mappings(of.get("tables"))],
        "seeds": _list(of.get("seeds")),
        "versions": _mapping(of.get("versions")),
    }


def _condition(of: dict[str, Any]) -> dict[str, Any]:
    return of | {"arms": _list(of.get("arms")), "cells": [_cell(each) for each in _mappings(of.get("cells"))]}


def _cell(of: dict[str, Any]) -> dict[str, Any]:
    return of | {
        "cell": _mapping(of.get("cell")),
        "values": {arm: _list(values) for arm, values in _mapping(of.get("values")).items()},
        "chosen": {arm: _mapping(settings) for arm, settings in _mapping(of.get("chosen")).items()},
    }


def _series(of: dict[str, Any]) -> dict[str, Any]:
    """Arms without a single point are left out."""
    arms = {arm: [_point(p) for p in _list(points)] for arm, points in _mapping(of.get("arms")).items()}
    sound_ones = {arm: [point for point in points if point is not None] for arm, points in arms.items()}
    return of | {"arms": {arm: points for arm, points in sound_ones.items() if points}}


def _point(of: Any) -> list[Any] | None:
    return [of[0], _list(of[1])] if isinstance(of, list | tuple) and len(of) == 2 else None


def _table(of: dict[str, Any]) -> dict[str, Any]:
    columns = _list(of.get("columns"))
    rows = [_list(row)[: len(columns)] for row in _list(of.get("rows"))]
    return of | {"columns": columns, "rows": [row + [None] * (len(columns) - len(row)) for row in rows]}


def _mapping(value: Any) -> dict[str, Any]:
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [_mapping(item) for item in _list(value) if isinstance(item, Mapping)]


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
