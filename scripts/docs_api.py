"""The page of the Python functions in the site of mkdocs, from their docstrings."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import normexp

MAX_LINE = 100

PREFIXES = r"\b(?:pathlib|collections\.abc|torch(?:\.\w+)*|normexp\.api\.\w+)\.(?=[A-Z])"
"""Modules of types, which are left out of signatures."""


def python_functions() -> str:
    """Return a page with all names of `import normexp`, functions first, with their signatures and docstrings."""
    members = {name: getattr(normexp, name) for name in normexp.__all__}
    names = sorted(members, key=lambda name: (inspect.isclass(members[name]), name))
    intro = "# Python functions\n\nAll that `import normexp` has. [Python](python.md) shows how to use it."
    sections = [section for name in names for section in _sections(f"normexp.{name}", members[name])]
    return "\n\n".join([intro, *sections]) + "\n"


def _sections(name: str, member: Any) -> Iterator[str]:
    yield f"## {name}"
    if not inspect.isclass(member):
        yield _code(name, member)
    yield inspect.getdoc(member) or ""
    if member in (normexp.Run, normexp.Runs, normexp.Watch):
        for key, value in vars(member).items():
            if not key.startswith("_"):
                yield f"### {name}.{key}"
                if inspect.isfunction(value):
                    yield _code(f"{name.rpartition('.')[2].lower()}.{key}", value)
                yield inspect.getdoc(value) or ""
    elif member is normexp.Config:
        yield "[Config keys](config-keys.md) lists its fields."


def _code(name: str, function: Any) -> str:
    """The signature as a block of code, on several lines if it is long."""
    signature = inspect.signature(function)
    own = [parameter for key, parameter in signature.parameters.items() if key != "self"]
    signature = signature.replace(parameters=own)
    arguments, arrow, result = str(signature).rpartition(" -> ")
    result = result.strip("'")  # quoted if torch would have to be imported
    if len(f"{name}{arguments}{result}") > MAX_LINE:
        lines = [str(parameter) for parameter in own]
        kinds = [parameter.kind for parameter in own]
        if inspect.Parameter.VAR_POSITIONAL not in kinds and inspect.Parameter.KEYWORD_ONLY in kinds:
            lines.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
        arguments = "(\n" + "".join(f"    {line},\n" for line in lines) + ")"
    text = re.sub(PREFIXES, "", f"{name}{arguments}{arrow}{result}")
    return f"```python\n{text}\n```"
