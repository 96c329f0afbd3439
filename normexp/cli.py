"""The front door: looks at the first word and opens the room that it names. Imports nothing heavy."""

from __future__ import annotations

import importlib
import io
import os
import shlex
import signal
import sys

from normexp import __version__
from normexp.commands import COMMANDS
from normexp.config import ConfigError
from normexp.rundir.atomic import FAULTS, WriteError


def main(argv: list[str] | None = None) -> int:
    """Run normexp with the words behind its name (default: those of this process); returns the exit code."""
    if argv is None:  # the processes that it starts, and theirs, import nothing from the current folder either
        os.environ.setdefault("PYTHONSAFEPATH", "1")
    words = sys.argv[1:] if argv is None else argv
    _open_streams()
    try:
        code = _dispatch(words)
    except ConfigError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        code = _say(str(error))
    except BrokenPipeError:
        code = 128 + signal.SIGPIPE
    except OSError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        code = _say(_sentence(error), code=1)
    except KeyboardInterrupt:
        code = _say("interrupted", code=130)
    return _flush() or code


def _flush() -> int:
    """Print what is left; returns an exit code, 0 where that worked. Python would do it later, with a traceback."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _lead_nowhere(1)
        return 128 + signal.SIGPIPE
    except OSError as error:
        _lead_nowhere(1)
        return _say(_sentence(error), code=1)
    return 0


def _sentence(error: OSError) -> str:
    """What went wrong. What normexp writes itself has a name in its errors, but for standard output."""
    if isinstance(error, WriteError):
        return str(error)
    if error.filename is None and error.errno in FAULTS:
        return f"Standard output could not be written ({error.strerror})."
    return f"{error.filename}: {error.strerror}." if error.filename is not None else f"{error.strerror or error}."


def _lead_nowhere(number: int) -> None:
    """What is left in the buffer of a stream that can't be written to would raise again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _open_streams() -> None:
    """Make the standard streams safe to use.

    Where they are closed (`>&-`), let them lead nowhere: files would get their numbers. What the encoding of standard output
    can't show (`±` in ASCII, a path that is not UTF-8) is printed as `?`.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):  # tests put others in its place
        sys.stdout.reconfigure(errors="replace")  # standard error has backslashreplace


def _dispatch(words: list[str]) -> int:
    if words[:1] not in (["train"], ["resume"]) or {"--help", "-h", "--cfg", "-c", "--info", "-i"} & set(words):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `normexp --help | head` ends like any other filter
    match words:
        case [] | ["-h" | "--help" | "help", *_]:
            from normexp.commands.help import main_help

            main_help()
        case ["--version", *_]:
            print(f"normexp {__version__}")
        case [word, *rest] if word in COMMANDS:
            code: int = importlib.import_module(f"normexp.commands.{word}").main(rest)
            return code
        case [word, *_]:
            import difflib  # late, for a quick --help

            near = difflib.get_close_matches(word, COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}."
            if "=" in word:
                hint = "overrides stand behind a command: normexp train " + shlex.join(words)
            return _say(f"There is no command {word!r}: {hint}")
    return 0


def _say(sentence: str, *, code: int = 2) -> int:
    try:
        print(f"normexp: {sentence}", file=sys.stderr)
    except OSError:
        _lead_nowhere(2)
    return code
