"""Read claims from configs/claim/NAME.yaml, and from claim/NAME.yaml in the user's --config-dir."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from normexp.claims import schema
from normexp.claims.checks import check_condition, check_lines, check_overrides, check_sweep
from normexp.claims.fields import Fields, mapping, overrides, paragraphs, scalar, seed_list, sequence, single_item, text
from normexp.claims.schema import Claim, Condition, Measure, Scale, Sweep, Value, format_point, is_number
from normexp.config import ConfigError, Objective, show, suggest, yaml_files
from normexp.config.reader import convert
from normexp.rundir import safe_read

MAX_BYTES = 2**20
"""Limit on the size of a claim's file, which may come from anyone; real ones have a few kilobytes."""

MAX_NUMBER = 1e100
"""Limit on the values of an axis, so that their products don't overflow."""

CLAIM_KEYS = (
    "kind group statement source background explanation would_change cost seeds sweep rule requires combine quick full"
)
CONDITION_KEYS = """what says measure at reaches across below over take working best_of choose multiple compare as pool contrast
    with where is center confirm refute decides"""
MEASURE_KEYS = "measure at reaches across below"
EXACT_CONDITION_KEYS = "what says measure is center confirm refute decides"

QUICK_SEEDS = 3
"""Number of seeds of a quick run, if the file doesn't say what is quick."""

CLAIM_SETS = ("all", "exact", "experiments")
"""Names of sets of claims, reserved."""


def claim_names(config_dir: Path | None = None) -> list[str]:
    """Names of all claims, including the user's own."""
    return yaml_files.choices("claim", *([config_dir] if config_dir else []))


def read_claim(
    name: str, config_dir: Path | None = None, *, scale: Scale = "small", quick: bool = False, strict: bool = False
) -> Claim:
    """Read a claim. Raises ConfigError for an unknown name and for an invalid file.

    quick, scale="full": apply the changes that the file lists under `quick` and `full` (seeds, overrides, axis values).
    strict: also check the overrides of its runs, which takes some milliseconds, and that the file has the scale.
    """
    if name not in claim_names(config_dir):
        own = "" if config_dir else " Your own (DIR/claim/NAME.yaml) need --config-dir DIR."
        hint = suggest(name, claim_names(config_dir)) or f" normexp claims lists them.{own}"
        raise ConfigError(f"Unknown claim {show(name)}.{hint}")
    roots = (yaml_files.folder(), *([config_dir] if config_dir else []))
    path, *others = (path for root in roots if (path := root / "claim" / f"{name}.yaml").exists())
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) or name in CLAIM_SETS:
        rename = "a claim's name may have lowercase letters, digits, - and _; rename the file."
        raise ConfigError(f"{show(path, 200)}: {rename}")
    if others and others[0] != path:  # equal if --config-dir names configs/ itself
        raise ConfigError(f"{show(others[0], 200)} has the name of a claim of normexp; rename the file.")
    try:
        fields = Fields(_parse_yaml(path), CLAIM_KEYS)
        _read_claim(name, fields, scale="full", quick=True)  # report errors in these parts, too
        claim = _read_claim(name, fields, scale=scale, quick=quick)
        if strict:
            if claim.sweep and claim.scale != scale:
                raise ConfigError(f"has no key {scale}, so it can't be run with --scale {scale}.")
            check_overrides(claim, config_dir)
        return claim
    except ConfigError as error:
        raise ConfigError(f"{show(path, 200)}: {error}") from error


def _parse_yaml(path: Path) -> Any:
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        text = safe_read.read(path, max_bytes=MAX_BYTES).decode("utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ConfigError("yaml aliases such as *a are not allowed in claims")
        return OmegaConf.to_container(OmegaConf.create(text)) if text.strip() else {}
    except AssertionError as error:  # OmegaConf's, for a number or a boolean
        raise ConfigError("must be a mapping of keys to values.") from error
    except (OSError, ValueError, RecursionError, OmegaConfBaseException, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0] if str(error) else error
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            reason = f"line {error.problem_mark.line + 1}: {error.problem}"
        raise ConfigError(f"can't be read ({show(reason, 200)}).") from error


def _read_claim(name: str, fields: Fields, *, scale: Scale, quick: bool) -> Claim:
    kind = fields.typed("kind", Literal["exact", "experiment"])
    exact = kind == "exact"
    # a file without `full` is the same at every scale; exact claims are quick
    scale, quick = scale if "full" in fields.tree else "small", quick and not exact
    if exact == ("sweep" in fields.tree):
        raise ConfigError("an exact claim has no sweep." if exact else "sweep is missing; an experiment needs one.")
    asked = ["full"] * (scale == "full") + ["quick"] * (quick and "quick" in fields.tree)
    changes = [Fields(fields.get(key, mapping), "seeds base axes") for key in asked]
    seeds = fields.get("seeds", seed_list)
    for change in changes:
        seeds = change.get("seeds", seed_list, seeds)
    if quick and "quick" not in fields.tree:
        seeds = seeds[:QUICK_SEEDS]
    sweep = None if exact else _read_sweep(fields.get("sweep", mapping), changes)
    rule = _read_conditions(fields.get("rule", sequence), "rule", sweep)
    if not any(condition.decides for condition in rule):
        raise ConfigError("rule needs at least one condition without decides: false.")
    requires = _read_conditions(fields.get("requires", sequence, []), "requires", sweep)
    combine = fields.typed("combine", Literal["all", "any"], "all")
    words = {key: fields.get(key, text) for key in ("statement", "source")}
    words |= {key: fields.get(key, paragraphs, "") for key in ("background", "explanation", "would_change")}
    words["cost"] = fields.get("cost", text, "")
    group = fields.typed("group", schema.Group, "mechanism")
    same = {"name": name, "kind": kind, "group": group, "scale": scale, "quick": quick}
    return Claim(**same, **words, seeds=seeds, sweep=sweep, rule=rule, requires=requires, combine=combine)


def _read_sweep(tree: Mapping[str, Any], changes: Sequence[Fields]) -> Sweep:
    fields = Fields(tree, "base arms axes", "sweep.")
    base = overrides(tree.get("base", []), "sweep.base")
    arms = {arm: overrides(item, f"sweep.arms.{arm}") for arm, item in fields.get("arms", mapping, {}).items()}
    axes = {axis: _read_axis(axis, item) for axis, item in fields.get("axes", mapping, {}).items()}
    if not arms:
        raise ConfigError("sweep.arms needs at least one arm, such as {bn: [norm=bn]}.")
    for change in changes:
        more = change.get("base", overrides, ())
        # another choice of a group drops the keys set in the group: data=cifar10 drops data.val_size
        groups = tuple(f"{override.partition('=')[0]}." for override in more if "." not in override.partition("=")[0])
        base = tuple(override for override in base if not override.startswith(groups)) + more
        for axis, item in change.get("axes", mapping, {}).items():
            if axis not in axes:
                known = f"sweep.axes has {', '.join(axes) or 'none'}.{suggest(axis, axes)}"
                raise ConfigError(f"axes: unknown axis {show(axis)}; {known}")
            axes[axis] = _read_axis(axis, item)
    sweep = Sweep(base=base, arms=arms, axes=axes)
    check_sweep(sweep)
    return sweep


def _read_axis(name: str, tree: Any) -> dict[Value, tuple[str, ...]]:
    """[0.1, 1] for a config key, or {mlp: [model=mlp, lr=0.1], ...} for values of several overrides."""
    axis: dict[Value, tuple[str, ...]] = {}
    if isinstance(tree, list) and all(isinstance(v, int | float | str | bool) or v is None for v in tree):
        axis = {value: (format_point({name: value}),) for value in tree}
        if len(axis) < len(tree):
            raise ConfigError(f"axes.{show(name)}={show(tree)}: duplicate value.")
        if not all(abs(value) < MAX_NUMBER for value in tree if is_number(value)):  # nan, too
            raise ConfigError(f"axes.{show(name)}={show(tree)}: numbers must be finite.")
    elif isinstance(tree, dict):
        axis = {str(value): overrides(item, f"sweep.axes.{name}.{value}") for value, item in tree.items()}
    if not axis:
        raise ConfigError(f"axes.{show(name)} must be a list of values, or a mapping of names to lists of overrides.")
    return axis


def _read_conditions(trees: Sequence[Any], key: str, sweep: Sweep | None) -> tuple[Condition, ...]:
    conditions = []
    for i, tree in enumerate(trees, start=1):
        try:
            conditions.append(_read_condition(Fields(tree, CONDITION_KEYS), sweep, required=key == "requires"))
        except ConfigError as error:
            raise ConfigError(f"{key}, condition {i}: {error}") from error
    return tuple(conditions)


def _read_condition(fields: Fields, sweep: Sweep | None, *, required: bool) -> Condition:
    measure, direction = _read_measure(fields), fields.typed("is", schema.Direction)
    confirm = fields.typed("confirm", float)
    if required and "refute" in fields.tree:
        raise ConfigError("refute: a requirement has one line, confirm; remove refute.")
    if "{effect}" not in (says := fields.get("says", text, "{effect}")):
        raise ConfigError(f"says={show(says)}: says needs {{effect}}, where the number and its interval go.")
    # an exact claim's numbers have no spread, and a requirement needs only one line
    refute = fields.typed("refute", float, *([confirm] if sweep is None or required else []))
    condition = Condition(
        what=fields.get("what", text),
        says=fields.get("says", text, ""),
        measure=measure,
        over=fields.get("over", text, None),
        reduction=fields.typed("take", schema.Reduction, "best"),
        working_level=fields.typed("working", float, None),
        best_of=fields.get("best_of", text, None),
        choose_by=fields.typed("choose", Objective, "val/accuracy" if measure.reaches is None else None),
        multiple=fields.typed("multiple", float, None),
        arms=tuple(str(scalar(arm, "compare")) for arm in fields.get("compare", sequence, [])),
        comparison=fields.typed("as", schema.Comparison) if sweep else "each",
        pool=tuple(text(axis, "pool") for axis in fields.get("pool", sequence, [])),
        contrast=fields.get("contrast", _contrast, None),
        other=fields.get("with", lambda tree, _: _read_measure(Fields(tree, MEASURE_KEYS, "with.")), None),
        where={axis: _where(axis, values) for axis, values in fields.get("where", mapping, {}).items()},
        direction=direction,
        center=fields.typed("center", float, 0.0),
        confirm=confirm,
        refute=refute,
        decides=fields.typed("decides", bool, True),
    )
    check_lines(condition, single=sweep is None or required)
    if sweep:
        check_condition(condition, sweep)
    elif extra := sorted(set(fields.tree) - set(EXACT_CONDITION_KEYS.split())):
        raise ConfigError(f"{extra[0]} is only for experiments; an exact claim has no runs.")
    return condition


def _contrast(value: Any, key: str) -> tuple[str, Value, Value]:
    axis, values = single_item(value, key, "an axis and two of its values: {model.depth: [10, 3]}")
    if not isinstance(values, list) or len(values) != 2:
        raise ConfigError(f"contrast.{axis} needs two values of that axis, such as [10,3].")
    return axis, scalar(values[0], key), scalar(values[1], key)


def _where(axis: str, values: Any) -> tuple[Value, ...]:
    if values == []:
        raise ConfigError(f"where.{axis} needs at least one value.")
    return tuple(scalar(value, "where") for value in (values if isinstance(values, list) else [values]))


def _read_measure(fields: Fields) -> Measure:
    at = fields.tree.get("at")
    return Measure(
        tag=fields.get("measure", text),
        at=at if type(at) is int and at >= 0 else fields.typed("at", schema.At, "last"),
        across=fields.typed("across", schema.Across, "mean"),
        below=fields.get("below", _below, None),
        reaches=fields.typed("reaches", float, None),
    )


def _below(value: Any, key: str) -> tuple[str, float, float | None]:
    what = "a tag and one or two levels: {train/loss: 0.5} or {train/loss: [0.5, 0.3]}"
    tag, levels = single_item(value, key, what)
    first, *more = levels if isinstance(levels, list) and levels else [levels]
    if len(more) > 1:
        raise ConfigError(f"below={show(levels)} takes one level, or two with the larger one first.")
    return tag, convert(first, float, key, {}), convert(more[0], float, key, {}) if more else None
