"""Made-up results that lead a claim's rule to a wanted verdict, found by solving one cell after the other."""

import itertools
import math

import numpy as np

from normexp.claims.judge import cells, judge

OUTCOMES = ("confirmed", "smaller than claimed", "refuted")


class World:
    """A number for each measure, arm and value of the axes, the same for all seeds but for noise."""

    def __init__(self, claim, rng):
        self.claim, self.rng, self.noise, self.levels = claim, rng, 0.0, {}
        self.axes = {axis: tuple(values) for axis, values in claim.sweep.axes.items()} if claim.sweep else {}

    def __call__(self, measure, arm, point, seed):
        level = self.levels.get((measure, arm, tuple(sorted(point.items()))), 0.5)
        if self.noise:
            level += self.noise * self.rng.standard_normal()
        return level, level

    def level(self, measure, arm, point):
        """The number where the axes that the point lacks have their middle value."""
        rest = {axis: values[len(values) // 2] for axis, values in self.axes.items()}
        return self(measure, arm, rest | point, 0)[0]

    def set(self, measure, arm, point, number):
        """Set the number at all values of the axes that the point lacks. number: or a function of the point."""
        free = [[(axis, v) for v in values] for axis, values in self.axes.items() if axis not in point]
        for rest in itertools.product(*free):
            at = {**point, **dict(rest)}
            value = number(at) if callable(number) else number
            self.levels[measure, arm, tuple(sorted(at.items()))] = value


def target(condition, outcome, rng):
    """An effect that is surely on this side of the lines."""
    confirm, refute = condition.confirm, condition.refute
    gap = abs(confirm - refute) or max(1.0, abs(confirm))
    sign = {">=": 1, "<=": -1, "within": -1}[condition.direction]
    number = {OUTCOMES[0]: confirm + sign * gap, OUTCOMES[1]: (confirm + refute) / 2, OUTCOMES[2]: refute - sign * gap}[
        outcome
    ]
    if condition.direction == "within":
        return condition.center + rng.choice([-1, 1]) * max(0.0, number)
    if condition.comparison == "ratio" and number <= 0:
        number = min(confirm, refute) / 2
    return number


def solve(world, condition, cell, outcome):
    """Change one side of a comparison so that the cell comes to this outcome, if nothing else happens."""
    rng, arms, effect = world.rng, condition.arms or ("",), target(condition, outcome, world.rng)
    if condition.comparison == "correlation":
        return _correlate(world, condition, cell, effect)
    point = cell
    if condition.contrast is not None:
        axis, *sides = condition.contrast
        which = rng.integers(2)
        point, other = ({**cell, axis: value} for value in (sides[which], sides[1 - which]))
        base = _effect(condition, [world.level(condition.measure, arm, other) for arm in arms])
        sign = 1 if which == 0 else -1
        effect = base * effect**sign if condition.comparison == "ratio" else base + sign * effect
    levels = [world.level(condition.measure, arm, point) for arm in arms]
    if condition.reduction in ("slope", "decades", "largest", "gain") and condition.over:
        return _along(world, condition, point, effect)
    match condition.comparison, levels:
        case "difference", [a, b]:
            new = (b + effect, a - effect)
        case "ratio", [a, b]:
            new = (b * effect, a / effect)
        case "share", [a, b]:
            new = (b * effect, a / effect if effect else b)
        case "share", [a, b, c, d]:
            if rng.random() < 0.3:
                world.set(condition.measure, arms[2], point, d + 0.3)
                c = world.level(condition.measure, arms[2], point)
            new = (b + effect * (c - d), a - effect * (c - d))[: 1 + (arms[1] not in arms[2:])]
        case _:
            new = (effect,)
    which = rng.integers(len(new))
    world.set(condition.measure, arms[which], point, float(new[which]))


def _effect(condition, levels):
    if condition.comparison in ("value", "each"):
        return levels[0]
    return levels[0] / levels[1] if condition.comparison == "ratio" else levels[0] - levels[1]


def _along(world, condition, point, effect):
    """The same for a measure whose course along an axis counts."""
    rng, over, arms = world.rng, condition.over, condition.arms
    values = world.axes[over]
    if condition.reduction == "slope":
        base = rng.choice([-1.0, 1.0])
        slopes = {"difference": (base + effect, base), "share": (base * effect, base), "ratio": (abs(effect), 1.0)}
        for arm, slope in zip(arms, slopes.get(condition.comparison, (effect,)), strict=True):
            world.set(condition.measure, arm, point, lambda at, s=slope: s * at[over])
    elif condition.reduction == "gain":
        world.set(condition.measure, arms[0], point, lambda at: 0.5 + effect * (at[over] != values[0]))
    else:
        level = condition.working_level
        for arm in arms if rng.random() < 0.5 else [rng.choice(arms)]:
            lowest, highest = sorted(rng.integers(0, len(values) + 1, size=2))
            works = values[lowest:highest]
            world.set(condition.measure, arm, point, lambda at, of=works: level + (0.1 if at[over] in of else -0.1))


def _correlate(world, condition, cell, effect):
    """Two measures whose ranks agree as far as the effect says."""
    pooled = [world.axes[axis] for axis in condition.pool]
    points = [dict(zip(condition.pool, values, strict=True)) for values in itertools.product(*pooled)]
    places = list(itertools.product(condition.arms, points))
    x = np.arange(len(places), dtype=float)
    share = float(np.clip(abs(effect) * 1.2, 0, 1))
    y = np.sign(effect) * share * x + (1 - share) * world.rng.permutation(x)
    for (arm, extra), a, b in zip(places, x, y, strict=True):
        world.set(condition.measure, arm, {**cell, **extra}, 2 + a / 100)
        world.set(condition.other, arm, {**cell, **extra}, 2 + b / 100)


def find(claim, rng, wanted, tries=200):
    """A world in which the claim has the wanted outcome; None if none was found."""
    world, best, kept = World(claim, rng), -math.inf, None
    turns = itertools.cycle(["confirmed", "refuted"] if wanted == "confirmed in part" else [wanted])
    aims = [(c, cell, next(turns)) for c in claim.rule if c.decides for cell in cells(c, claim)]
    for _ in range(tries):
        judgement = judge(claim, world)
        if judgement.outcome == wanted:
            return world
        got = [cell.outcome for of in judgement.conditions if of.decides for cell in of.cells]
        open_ = [(aim, outcome) for aim, outcome in zip(aims, got, strict=True) if aim[2] != outcome]
        unmet = any(outcome == "not comparable" for _, outcome in open_)
        score = -len(open_) - 0.5 * sum(outcome == "not comparable" for _, outcome in open_)
        if score >= best:
            best, kept = score, (dict(world.levels), open_, unmet)
        levels, open_, unmet = kept
        world.levels = dict(levels)
        if unmet and claim.requires and rng.random() < 0.5:
            for required in claim.requires:
                for cell in cells(required, claim):
                    solve(world, required, cell, "confirmed")
        elif open_:
            for aim, _ in open_ if rng.random() < 0.5 else [open_[rng.integers(len(open_))]]:
                solve(world, *aim)
    return None
