"""Translate what Hydra, OmegaConf and the yaml reader raise into sentences for users."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from normexp.compose.choices import choices_with, known_keys
from normexp.config import ConfigError, show


@contextmanager
def config_errors() -> Iterator[None]:
    """Raise ConfigError in place of what composing a config raises for a user's mistake. Ctrl-C stays a KeyboardInterrupt: after
    one, Hydra's cleanup can fail with any other exception."""
    try:
        yield
    except Exception as error:
        earlier = error.__context__
        while earlier:
            if isinstance(earlier, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            earlier = earlier.__context__
        if isinstance(error, composing_errors()):
            raise ConfigError(explain(error)) from error
        raise


def composing_errors() -> tuple[type[Exception], ...]:
    """The exceptions that composing a config raises for a user's mistake."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    return HydraException, OmegaConfBaseException, YAMLError, RecursionError


def explain(error: Exception) -> str:
    """One sentence for one of the composing errors."""
    if isinstance(error, RecursionError):
        return "The config is nested too deeply, or the defaults list of a file includes the file itself."
    if mark := getattr(error, "problem_mark", None):
        problem = show(getattr(error, "problem", error))
        return f"{show(mark.name, max_length=200)}, line {mark.line + 1}: invalid yaml ({problem})."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and "raised while composing" in lines[0]:  # the next line has the cause
        return show(" ".join(lines[:2]).rstrip("."), max_length=400) + "."
    override = re.match(r"Could not override '([^']+)'", lines[0]) if lines else None
    if override and (key := override[1].lstrip("+")) in known_keys():
        return f"{key} is a key of {choices_with(key)} only."
    key_path = getattr(error, "full_key", None)
    return (f"{show(key_path)}: " if key_path else "") + reason(error) + "."


def reason(error: Exception) -> str:
    """The first line of an error's message, printable and without the names of Python's exceptions."""
    text = re.sub(
        r"\b\w+(Error|Exception) (while evaluating '.*?': |raised while resolving interpolation: )", "", str(error)
    )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return show((lines or [type(error).__name__])[0].rstrip("."), max_length=200)
