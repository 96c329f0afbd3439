"""Synthetic claims, and verdict files as dictionaries: every kind, with values to replace."""

import io
import itertools
import random

from rich.console import Console

from normexp.claims.schema import Claim, Condition, Measure, Sweep
from normexp.claims.verdict import Verdict


def a_cell(effect=0.241, low=0.203, high=0.279, *, verdict="confirmed", values=None, **more):
    default = {
        "cell": {},
        "verdict": verdict,
        "effect": effect,
        "bound": "",
        "low": low,
        "high": high,
        "level": 0.966,
        "n": 5,
        "looks": [{"n": 5, "effect": effect, "low": low, "high": high}],
        "seeds_needed": None,
        "win": 0.857,
        "values": {"bn": [0.951, 0.948, 0.955], "none": [0.71, 0.69, 0.73]} if values is None else values,
        "censored": {},
        "chosen": {"bn": {"lr": 0.3}},
        "at_end": {},
        "note": None,
    }
    return default | more


def a_condition(*cells, **more):
    default = {
        "what": "bn's accuracy is above none's",
        "says": "bn gains {effect}",
        "decides": True,
        "measure": "test/accuracy",
        "reaches": None,
        "as": "difference",
        "take": None,
        "over": None,
        "arms": ["bn", "none"],
        "is": ">=",
        "center": 0.0,
        "confirm": 0.03,
        "refute": 0.01,
        "cells": list(cells) or [a_cell()],
    }
    return default | more


def a_verdict(name="faster", verdict="confirmed", **more):
    default = {
        "format": 2,
        "claim": name,
        "kind": "experiment",
        "group": "speed",
        "statement": "Batch norm makes training converge in fewer steps.",
        "source": "Ioffe and Szegedy 2015, section 4.1",
        "explanation": "Batch norm keeps what enters the sigmoids in their middle.\n\nThe gradients reach the first layer.",
        "scale": "small",
        "quick": False,
        "verdict": verdict,
        "because": "bn is better in every cell.",
        "combine": "all",
        "conditions": [a_condition()],
        "series": [a_series()],
        "tables": [],
        "drawing": None,
        "seeds": [501, 502, 503, 504, 505],
        "max_seeds": 20,
        "grade": "A",
        "lacks": [],
        "exploratory": False,
        "setup": {"data": "MNIST", "base": "model=mlp steps=400", "arms": "none, bn", "lr": "0.1, 1"},
        "runs": 54,
        "seconds": 132.5,
        "folder": f"runs/claims/{name}",
        "command": f"normexp claims run {name}",
        "made": "2026-11-21T18:00:00+00:00",
        "versions": {"normexp": "0.1", "torch": "2.9", "python": "3.11.7", "cpu": "some cpu"},
        "rule": "ab12cd34",
        "code": "ef56ab78",
        "judging": "0123abcd",
    }
    return default | more


def a_series(**more):
    rng = random.Random(1)
    lrs = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
    arms = {
        arm: [
            [lr, [None if arm == "none" and lr > 1 and i else min(0.98, top - 0.1 * (lr - 0.2) ** 2) + rng.gauss(0, 0.01)
                  for i in range(3)]]
            for lr in lrs
        ]
        for arm, top in (("none", 0.6), ("bn", 0.95))
    }  # fmt: skip
    default = {"title": "activation=relu", "x": "lr", "log_x": True, "y": "test/accuracy", "line": 0.9, "arms": arms}
    return default | more


def an_exact(name="formula", verdict="confirmed", **more):
    values = {"": [8e-16, 9e-16, 2.1e-15]}
    cell = a_cell(2.1e-15, 8e-16, 2.1e-15, level=1.0, values=values, chosen={}, looks=[], win=None, n=3)
    rule = {"as": "each", "is": "<=", "confirm": 1e-12, "refute": 1e-12, "arms": []}
    condition = a_condition(cell, what="largest difference from torch's layer", measure="difference_linear", **rule)
    default = {
        "kind": "exact",
        "group": "mechanism",
        "statement": "Batch norm is x_hat = (x - mean) / sqrt(var + eps).",
        "conditions": [condition | {"says": "the formula agrees with torch's layer to within {effect}"}],
        "series": [],
        "tables": [{"title": "One channel", "columns": ["value", "normalized"], "rows": [[0.5, 1.2247], [None, "gone"]]}],
        "drawing": "  B\n +--+\n |  | C",
        "seeds": [201, 202, 203],
        "grade": "",
        "setup": {},
        "runs": 0,
    }  # fmt: skip
    return a_verdict(name, verdict, **default) | more


def thirty_cells():
    axes = itertools.product(["sigmoid", "tanh", "relu"], [3, 5], [0.01, 0.1, 1.0, 3.0, 10.0])
    rng = random.Random(2)
    cells = []
    for activation, depth, lr in axes:
        effect, half = rng.gauss(0.1, 0.1), abs(rng.gauss(0.05, 0.03))
        verdict = "confirmed" if effect - half >= 0.03 else "refuted" if effect + half < 0.01 else "undecided"
        where = {"activation": activation, "depth": depth, "lr": lr}
        cells.append(a_cell(effect, effect - half, effect + half, verdict=verdict, cell=where))
    return cells


def a_claim(name="faster", kind="experiment", **more):
    default = {
        "group": "speed",
        "statement": "Batch norm makes training converge in fewer steps, whatever the activation and the initialization.",
        "source": "Ioffe and Szegedy 2015",
        "explanation": "Why it is so.",
        "cost": "3 minutes",
        "seeds": tuple(range(501, 521)),
        "sweep": Sweep(
            base=("data.train_size=500", "probe='off'"),
            arms={"none": (), "bn": ("norm=bn", "lr=1")},
            axes={"activation": {"relu": (), "tanh": ()}, "lr": {0.1: (), 1.0: ()}},
        ),
        "rule": (
            Condition(
                what="bn above none",
                measure=Measure(tag="test/accuracy"),
                over="lr",
                arms=("bn", "none"),
                comparison="difference",
                direction=">=",
                confirm=0.03,
                refute=0.01,
            ),
        ),
        "requires": (),
    }
    return Claim(name=name, kind=kind, **(default | more))


def parsed(value):
    """Verdicts for dictionaries, at any depth of lists and tuples."""
    if isinstance(value, list | tuple):
        return type(value)(map(parsed, value))
    return Verdict.from_json(value) if isinstance(value, dict) else value


def printed(function, *values, width=80, color=False, encoding="utf-8"):
    """What a function of terminal.py prints for verdicts."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    colors = "standard" if color else None
    console = Console(file=file, width=width, highlight=False, emoji=False, force_terminal=color, color_system=colors)
    function(console, *map(parsed, values))
    file.flush()
    return file.buffer.getvalue().decode(encoding)
