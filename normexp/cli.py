"""Entry point: dispatch to the named command. Imports nothing heavy."""

import importlib
import io
import os
import shlex
import shutil
import signal
import sys
import textwrap

from normexp import __version__
from normexp.commands import COMMANDS
from normexp.config import ConfigError, show, suggest
from normexp.rundir.atomic import UNWRITABLE_ERRNOS, WriteError


def main(argv: list[str] | None = None) -> int:
    """Run normexp with the given arguments (default: sys.argv); returns the exit code."""
    if argv is None:  # child processes must not import modules from the current folder either
        os.environ.setdefault("PYTHONSAFEPATH", "1")
    words = sys.argv[1:] if argv is None else argv
    _open_streams()
    try:
        code = _dispatch(words)
    except KeyboardInterrupt:
        code = _fail("interrupted", code=130)
    except (ConfigError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1" and not isinstance(error, BrokenPipeError):
            raise
        code = _report(error)
    try:  # at interpreter exit a failure would print a traceback
        sys.stdout.flush()
    except OSError as error:
        _redirect_to_devnull(1)
        code = _report(error)
    return code


def _report(error: ConfigError | OSError) -> int:
    """Print an error, except for a closed pipe; returns the exit code."""
    match error:
        case ConfigError():
            return _fail(str(error))
        case BrokenPipeError():
            return 128 + signal.SIGPIPE
        case WriteError():
            sentence = str(error)
        case OSError(filename=None) if error.errno in UNWRITABLE_ERRNOS:  # files that normexp writes have a name
            sentence = f"Standard output could not be written ({error.strerror})."
            _redirect_to_devnull(1)  # flushing what is left would fail again, and be reported twice
        case OSError(filename=None):
            sentence = f"{error.strerror or error}."
        case _:
            sentence = f"{show(error.filename, 300)}: {error.strerror}."
    return _fail(sentence, code=1)


def _redirect_to_devnull(descriptor: int) -> None:
    """Discard what is left in the buffer of a broken stream, which would raise again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _open_streams() -> None:
    """Make the standard streams safe to use.

    Closed streams (`>&-`) are replaced by /dev/null, since files would get their descriptors. Characters that the encoding of
    standard output lacks (`±` in ASCII, a path that is not UTF-8) are printed as `?`.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):  # tests replace it
        sys.stdout.reconfigure(errors="replace")  # standard error has backslashreplace


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["help"]:  # `help CMD` is `CMD --help`
        words = [*(word for word in words if word != "help"), "--help"]
        if len(words) == 2 and words[0] not in (*COMMANDS, *SYNONYMS) and not words[0].startswith("-"):
            from normexp.commands.help import topic_help

            topic_help(words[0])
            return 0
    wants_help = bool({"-h", "--help"} & set(words[1:]))
    if words[:1] not in (["train"], ["resume"]) or wants_help or {"--cfg", "-c", "--info", "-i"} & set(words):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `normexp --help | head` ends like any other filter
    match words:
        case [] | ["-h" | "--help", *_]:
            from normexp.commands.help import main_help

            main_help()
        case ["--version", *_]:
            print(f"normexp {__version__}")
        case [word, *rest] if word in COMMANDS:
            command = importlib.import_module(f"normexp.commands.{word}")
            if wants_help and word != "train":  # whose help depends on the other words
                print(command.HELP)
                return 0
            code: int = command.main(rest)
            return code
        case [word, *_]:
            return _fail(_unknown_command(word, words))
    return 0


SYNONYMS = {
    **dict.fromkeys(("list", "ls", "status"), "runs"),
    **{"run": "train", "sweep": "train -m", "delete": "rm"},
    **{"compare": "report A B", "plot": "report RUN --plot val/accuracy", "version": "--version"},
}
"""Commands of similar tools, and what does it here."""


def _unknown_command(word: str, words: list[str]) -> str:
    if "=" in word:
        return f"Overrides come after a command: normexp train {shlex.join(words)}"
    hint = f" Did you mean normexp {SYNONYMS[word]}?" if word in SYNONYMS else suggest(word, COMMANDS)
    return f"Unknown command {show(word)}." + (hint or f" The commands are {', '.join(COMMANDS)}.")


def _fail(sentence: str, *, code: int = 2) -> int:
    """Print an error, wrapped between words on a terminal; returns the exit code."""
    text = f"normexp: {sentence}"
    try:
        if sys.stderr.isatty():
            width = shutil.get_terminal_size().columns
            text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
        print(text, file=sys.stderr)
    except OSError:
        _redirect_to_devnull(2)
    return code
