"""Whether what a condition names is there in its claim's sweep, and goes together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from normexp.claims.schema import Condition, Sweep, Value
from normexp.config import ConfigError, nearest, show

ARMS = {"difference": (2, 2), "ratio": (2, 2), "value": (1, 1), "correlation": (3, 99)}
"""How many arms each comparison takes, at least and at most."""


def check(condition: Condition, sweep: Sweep) -> None:
    """Raises ConfigError, with the nearest name, where it can't be judged."""
    _check_arms(condition, sweep)
    for key, axis, values in _named(condition):
        if axis not in sweep.axes:
            raise ConfigError(f"{key}: there is no axis {show(axis)}.{_near(axis, sweep.axes)}")
        for value in values:
            if value not in sweep.axes[axis]:
                known = ", ".join(map(show, sweep.axes[axis]))
                raise ConfigError(f"{key}: the axis {axis} has no value {show(value)}; it has {known}.")
    axes = [axis for _, axis, _ in _named(condition)]
    if len(set(axes)) < len(axes):
        raise ConfigError("over, contrast and where are for different axes.")
    _check_take(condition, sweep)
    same = {sweep.arms[arm] for arm in condition.compare}
    if len(same) < len(condition.compare):
        raise ConfigError(f"compare={show(condition.compare)}: two of these arms are the same runs.")
    if (condition.how == "correlation") != (condition.other is not None):
        raise ConfigError("with goes with as: correlation, and is the measure that the first one is compared with.")


def check_sweep(sweep: Sweep) -> None:
    """Raises ConfigError where an arm or an axis sets a key that another axis sets too, and so would be without effect."""
    owners: dict[str, str] = {}
    for axis, values in sweep.axes.items():
        for key in dict.fromkeys(override.partition("=")[0] for overrides in values.values() for override in overrides):
            if key in owners:
                raise ConfigError(f"sweep.axes: {axis} and {owners[key]} both set {key}.")
            owners[key] = axis
    for arm, overrides in sweep.arms.items():
        for key in (override.partition("=")[0] for override in overrides):
            if key in owners:
                raise ConfigError(f"sweep.arms.{arm}: the axis {owners[key]} sets {key}, too.")


def _check_arms(condition: Condition, sweep: Sweep) -> None:
    if condition.how not in ARMS:
        raise ConfigError("as: each is for exact claims.")
    least, most = ARMS[condition.how]
    compare = condition.compare
    if not least <= len(compare) <= most or len(set(compare)) < len(compare):
        count = f"{'at least ' if most > least else ''}{least}{' different' * (least > 1)} arm{'s' * (least > 1)}"
        raise ConfigError(f"compare={show(compare)}: as: {condition.how} takes {count}.")
    for arm in compare:
        if arm not in sweep.arms:
            raise ConfigError(f"compare: there is no arm {show(arm)}.{_near(arm, sweep.arms)}")


def _check_take(condition: Condition, sweep: Sweep) -> None:
    what, over = condition.take, condition.over
    if over is None and what != "best":
        raise ConfigError(f"take: {what} needs the axis that it is taken over, as over.")
    if (what in ("decades", "largest")) != (condition.working is not None):
        raise ConfigError("working goes with take: decades or largest, and says from which measure on a value works.")
    of_test = condition.measure.tag.startswith("test/")
    if of_test and what in ("min", "max", "decades", "largest"):
        raise ConfigError(
            f"take: {what} would choose by the test set; take a measure of the validation set, or take: best."
        )
    if condition.working is not None and condition.measure.tag.endswith("loss"):
        raise ConfigError(
            "working says from which measure on a value works; of a loss, more is worse: take an accuracy."
        )
    if over is not None and what in ("decades", "largest", "slope"):
        for value in sweep.axes[over]:
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ConfigError(f"take: {what} needs an axis of numbers above 0, and {over} has {show(value)}.")


def _named(condition: Condition) -> Iterator[tuple[str, str, tuple[Value, ...]]]:
    """The axes that a condition names, where, and with which values."""
    if condition.over is not None:
        yield "over", condition.over, ()
    if condition.contrast is not None:
        yield "contrast", condition.contrast[0], condition.contrast[1:]
    for axis, values in condition.where.items():
        yield "where", axis, values


def _near(word: str, known: Iterable[str]) -> str:
    known = list(known)
    return nearest(word, known) or f" They are {', '.join(known) or 'none'}."
