"""Check the conditions of a claim against its sweep: names must exist, and keys must fit together."""

from collections.abc import Iterable

from normexp.claims.schema import Condition, Sweep, Value, is_number
from normexp.config import ConfigError, show, suggest

NUM_ARMS = {"difference": 2, "ratio": 2, "value": 1, "correlation": 3}
"""Number of arms of each comparison. Only a correlation may have more."""


def check_condition(condition: Condition, sweep: Sweep) -> None:
    """Raise ConfigError, with the nearest name, if the condition can't be judged from the sweep."""
    _check_arms(condition, sweep)
    named: list[tuple[str, str, tuple[Value, ...]]] = [("where", axis, of) for axis, of in condition.where.items()]
    if condition.over is not None:
        named.append(("over", condition.over, ()))
    if condition.contrast is not None:
        named.append(("contrast", condition.contrast[0], condition.contrast[1:]))
    for key, axis, values in named:
        if axis not in sweep.axes:
            raise ConfigError(f"{key}: unknown axis {show(axis)}.{_suggest(axis, sweep.axes)}")
        for value in values:
            if value not in sweep.axes[axis]:
                known = ", ".join(map(show, sweep.axes[axis]))
                raise ConfigError(f"{key}: axis {axis} has no value {show(value)}; its values are {known}.")
    if len({axis for _, axis, _ in named}) < len(named):
        raise ConfigError("over, contrast and where must name different axes.")
    _check_reduction(condition, sweep)
    if len({sweep.arms[arm] for arm in condition.arms}) < len(condition.arms):
        raise ConfigError(f"compare={show(condition.arms)}: two of these arms have the same overrides.")
    if (condition.comparison == "correlation") != (condition.other is not None):
        raise ConfigError("with (the second measure) and as: correlation require each other.")


def check_sweep(sweep: Sweep) -> None:
    """Raise ConfigError if an arm or axis sets a key that another axis also sets: one of them would have no effect."""
    owners: dict[str, str] = {}
    for axis, values in sweep.axes.items():
        for key in dict.fromkeys(override.partition("=")[0] for overrides in values.values() for override in overrides):
            if key in owners:
                raise ConfigError(f"sweep.axes: {axis} and {owners[key]} both set {key}.")
            owners[key] = axis
    for arm, key in ((arm, override.partition("=")[0]) for arm, own in sweep.arms.items() for override in own):
        if key in owners:
            raise ConfigError(f"sweep.arms.{arm}: {key} is already set by the axis {owners[key]}.")


def _check_arms(condition: Condition, sweep: Sweep) -> None:
    if condition.comparison not in NUM_ARMS:
        raise ConfigError("as: each is only for exact claims.")
    arms, needed, at_least = condition.arms, NUM_ARMS[condition.comparison], condition.comparison == "correlation"
    if len(set(arms)) < len(arms) or len(arms) < needed or (len(arms) > needed and not at_least):
        count = f"{'at least ' * at_least}{needed}{' different' * (needed > 1)} arm{'s' * (needed > 1)}"
        raise ConfigError(f"compare={show(arms)}: as: {condition.comparison} needs {count}.")
    for arm in arms:
        if arm not in sweep.arms:
            raise ConfigError(f"compare: unknown arm {show(arm)}.{_suggest(arm, sweep.arms)}")


def _check_reduction(condition: Condition, sweep: Sweep) -> None:
    reduction, over, tag = condition.reduction, condition.over, condition.measure.tag
    works, has_level = reduction in ("decades", "largest"), condition.working_level is not None
    values = sweep.axes.get(over or "", ()) if works or reduction == "slope" else ()
    not_positive = ", ".join(show(value) for value in values if not is_number(value) or value <= 0)
    working = "working (the lowest measure at which a value works)"
    problems = {
        f"take: {reduction} needs an axis, given by over.": over is None and reduction != "best",
        f"{working} and take: decades or largest require each other.": works != has_level,
        f"take: {reduction} would select on the test set; use a validation measure, or take: best.": (
            tag.startswith("test/") and (works or reduction in ("min", "max"))
        ),
        f"{working} can't be a loss; use an accuracy.": has_level and tag.endswith("loss"),
        f"take: {reduction} needs an axis of positive numbers, but {over} has {not_positive}.": bool(not_positive),
    }
    for problem in (problem for problem, applies in problems.items() if applies):
        raise ConfigError(problem)


def _suggest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    return suggest(word, known) or (f" Known: {', '.join(known)}." if known else "")
