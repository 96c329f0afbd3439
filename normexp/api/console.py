"""The console of the functions of `import normexp`."""

from rich.console import Console

from normexp.sinks.progress_bar import RunConsole


def run_console(*, quiet: bool) -> RunConsole:
    """A console as the command has it; in a notebook, one that prints plain lines, without HTML, colors or a live bar."""
    if Console().is_jupyter:
        return RunConsole(quiet=quiet, force_jupyter=False, force_terminal=False, no_color=True)
    return RunConsole(quiet=quiet)
