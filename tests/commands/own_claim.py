"""A small claim of a user, which takes seconds, and the command that runs it."""

from pathlib import Path

from normexp.cli import main

MINE = """\
kind: experiment
group: speed
statement: Batch norm learns digits faster than layer norm.
source: somebody on the web
seeds: [1, 2]
sweep:
  base: [model=mlp, model.width=16, data.train_size=200, steps=10, eval_every=5, "probe='off'", optim.momentum=0.0]
  arms: {bn: [norm=bn], ln: [norm=ln]}
  axes: {lr: [0.0001, 0.1, 30.0]}
rule:
  - what: validation accuracy, bn minus ln, each at its best lr
    says: bn gains {effect}
    measure: val/accuracy
    over: lr
    compare: [bn, ln]
    as: difference
    is: ">="
    confirm: 0.02
    refute: 0.0
quick:
  axes: {lr: [0.1]}
cost: seconds
"""

KEYS = [(arm, (("lr", lr),), seed) for arm in ("bn", "ln") for lr in (0.0001, 0.1, 30.0) for seed in (3, 4, 5)]
"""Arm, axis values and seed of each run that chooses the lr. Two seeds per arm are then judged."""


def write(text=MINE, name="mine", folder="own"):
    path = Path(folder) / "claim" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def claims(*words):
    return main(["claims", *words, "--config-dir", "own"])
