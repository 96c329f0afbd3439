"""Hypothesis strategies for values of the config's keys: those that fit their types and bounds, and those that don't.

Keys, types and bounds are read from the config's classes, so new keys are included automatically.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from normexp.compose.choices import CHOICES
from normexp.config import GROUPS, Config


@dataclass(frozen=True)
class Key:
    """A key, its type (without `| None`) and bounds, and the choices of its group that have it."""

    name: str
    hint: Any
    optional: bool
    bounds: Mapping[str, float]
    choices: tuple[str, ...] = ()


def _key(name: str, hint: Any, bounds: Mapping[str, float], *choices: str) -> Key:
    optional = get_origin(hint) in (types.UnionType, Union)
    if optional:
        *_, hint = (arg for arg in get_args(hint) if arg is not types.NoneType)  # without words such as `auto`
    return Key(name, hint, optional, bounds, choices)


def _keys() -> dict[str, Key]:
    hints = get_type_hints(Config)
    found = {
        f.name: _key(f.name, hints[f.name], f.metadata)
        for f in dataclasses.fields(Config)
        if f.name not in (*GROUPS, "own_choices")  # which normexp sets
    }
    for group, classes in CHOICES.items():
        for choice, cls in classes.items():
            hints = get_type_hints(cls)
            for field in dataclasses.fields(cls):
                if field.name != "name":
                    name = f"{group}.{field.name}"
                    before = found[name].choices if name in found else ()
                    found[name] = _key(name, hints[field.name], field.metadata, *before, choice)
    return found


KEYS = _keys()

SMALL = 12
"""The largest integer, for a key without an upper bound, in a command line that should train in seconds."""

HUGE = ["1000000000", "1000000000000000000", "9223372036854775808", "1" + "0" * 400, "1" + "0" * 5000]
FAR = ["-1", "-1000000000000000000", "-9223372036854775809", "nan", "inf", "-inf", "1e400", "-1e400", "-1" + "0" * 400]
SHAPES = ["null", "", "[]", "{}", "[[1]]", "[null]", "{a: 1}", "[{a: 1}]", "{a: {b: [1]}}", '""', "' '"]
WORDS = ["fast", "yess", "None", "a b", "true", "1", "0x10", "1_000", "1,5", "'1'", '"null"', "é", "数", "😀", "a/b"]
BROKEN = ["'", '"', "'a", 'a"', "[", "]", "[1", "{", "}", "(", "a(", ")", ",", "1,", ",1", ":", "a:b", "=", "==", "\\"]
BROKEN += ["a\\", "${", "${}", "${a", "$", "%", "#", "# no", "!", "&a", "*a", "!!python/object:os.system", "|", ">"]
BROKEN += ["@"]
CONTROL = ["\n", "a\nb", "'a\nb'", "\t", "\r", "\x1b[31mred\x1b[0m", "'\x1b[2J'", "\x7f", "\u202e", "\u2028"]
CONTROL += ["'\u2028'", "\ud800", "'\udcff'", "\ufeff", "'\u200b'"]
WORDS += ["'~nobody-here'", "'~nobody-here/a'"]
REFERENCES = ["${missing}", "${oc.env:HOME}", "${oc.env:NORMEXP_NOT_THERE}", "${oc.env:NORMEXP_NOT_THERE,3}", "${lr}"]
REFERENCES += ["${steps}", "${model}", "${norm.eps}", "${hydra:job.name}", "${hydra:nothing}", "${nothing:1}", "${.lr}"]
REFERENCES += ["a${lr}", "'${lr}'", "[${lr}]", "${${lr}}", "???", "'???'", "${oc.select:x}", "${oc.decode:'['}"]
REFERENCES += ["${now:%Y}"]
SWEEPS = ["0.1,0.2", "1,1", "a,b", "choice(1,2)", "choice()", "choice(a,", "range(3)", "range(0,3)", "range(0,10,0)"]
SWEEPS += ["range(3,0)", "range(0,1,1e-300)", "range(1,1000000000000)", "range(0,3,-1)", "range(a)"]
SWEEPS += ["range(0.1,0.3,0.1)", "interval(0,1)", "interval(1)", "glob(*)", "glob(zz*)", "glob([*],exclude=b*)"]
SWEEPS += ["glob(1)", "shuffle(1,2,3)", "tag(log,interval(0.001,1))", "tag(a,b)", "tag(1,2,3)", "sort(3,1,2)"]
SWEEPS += ["sort([3,1])", "sort(a,1)", "nothing(1)", "int(1.5)", "int(inf)", "int(a)", "float(1)", "float([1])"]
SWEEPS += ["str(1)", "str([1])", "bool(maybe)", "json_str({a:1})", "extend_list(1,2)", "[1,2],[3]", "{a:1},{b:2}"]
SWEEPS += ["choice(choice(1,2),3)", "int(choice(1,2))", "null,null"]
LONG = ["x" * 10_000, "'" + "x y" * 3_000 + "'", "[" + "1," * 1_000 + "1]", "9" * 4_000, "${" + "a" * 5_000 + "}"]
LONG += ["[" * 100 + "]" * 100, "[" * 2_000, "(" * 500, "1," * 400 + "1", "0." + "1" * 5_000, "\\" * 5_000]
LONG += ["${a:" * 200]

SYNTAX = st.one_of(*map(st.sampled_from, (HUGE, FAR, SHAPES, WORDS, BROKEN, CONTROL, REFERENCES, SWEEPS, LONG)))
"""The value of any override, whatever the key's type."""

TEXT = st.text(st.characters(blacklist_characters="\0"), max_size=12)


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "").replace("'", "\\'") + "'"


def _numbers(key: Key, *, small: bool) -> st.SearchStrategy[str]:
    """Numbers within the bounds, often at their edges. small: integers for a network that trains in seconds."""
    above, minimum, below, maximum = (key.bounds.get(k, d) for k, d in BOUNDS.items())
    if key.hint is float or get_args(key.hint)[:1] == (float,):
        low, high = max(above, minimum, -1e308), min(below, maximum, 1e308)
        edges = [e for e in (minimum, maximum) if math.isfinite(e)]
        inside = st.floats(low, high, exclude_min=low == above, exclude_max=high == below)
        usual = st.floats(0.001, 0.9).filter(lambda x: low < x < high)
        return st.one_of(usual, inside, *(map(st.just, edges))).map(repr)
    low = int(max(minimum, above + 1, -(10**9)))
    high = int(min(maximum, below - 1)) if math.isfinite(min(maximum, below)) else None
    few = st.integers(low, min(low + SMALL, high or low + SMALL))
    edges = [st.just(low), *([] if high is None else [st.just(high)])]
    return st.one_of(few, *edges, *([] if small else [st.integers(low, high or 10**19)])).map(str)


BOUNDS = {"above": -math.inf, "minimum": -math.inf, "below": math.inf, "maximum": math.inf}


def fitting(key: Key, *, small: bool) -> st.SearchStrategy[str]:
    """Values of the key's type within its bounds. Combined with other keys they may not work."""
    if key.hint is bool:
        values = st.sampled_from(["true", "false", "True", "FALSE"])
    elif key.hint is str:
        names = st.text(st.characters(whitelist_categories=("L", "N")), min_size=1, max_size=8)
        values = names.map(quoted) if small else st.one_of(names, TEXT).map(quoted)
    elif get_origin(key.hint) is Literal:
        values = st.sampled_from(get_args(key.hint))
    elif get_origin(key.hint) is tuple:
        item = dataclasses.replace(key, hint=get_args(key.hint)[0], optional=False)
        texts = key.hint == tuple[str, ...]  # patterns
        items = st.sampled_from(["'*'", "head", "'?*'"]) if texts else fitting(item, small=small)
        values = st.lists(items, max_size=3).map(lambda found: f"[{','.join(found)}]")
    else:
        values = _numbers(key, small=small)
    return st.one_of(values, st.just("null")) if key.optional else values


def unfitting(key: Key) -> st.SearchStrategy[str]:
    """Values of another type or out of bounds."""
    wrong = ["[[1]]", "{a: 1}", "[{a: 1}]", *([] if key.optional else ["null"])]
    if get_origin(key.hint) is tuple:
        item = dataclasses.replace(key, hint=get_args(key.hint)[0], optional=False)
        scalars = st.sampled_from([*wrong, "1", "true", "abc", '""', "[null]", "[1,null]"])
        return scalars if item.hint is str else st.one_of(scalars, unfitting(item).map(lambda text: f"[{text}]"))
    if key.hint is not str:
        wrong += ["fast", "yess", '""', "' '", "x" * 10_000, "é", "nan", "inf", "-inf", "1e400", "[1]", "[]", "'1'"]
        wrong += ["1.5"] if key.hint is not float else []
        wrong += ["1" + "0" * 400, "-1" + "0" * 400]
    wrong += ["true", "false"] if key.hint is not bool else ["0", "1"]
    above, minimum, below, maximum = (key.bounds.get(k, d) for k, d in BOUNDS.items())
    if key.bounds and key.hint in (int, float):
        step = 1 if key.hint is int else 1e-9
        beyond = [above, below, minimum - step, maximum + step]
        wrong += [f"{key.hint(edge)}" for edge in beyond if math.isfinite(edge)]
    return st.sampled_from(wrong)
