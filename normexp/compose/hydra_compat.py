"""Differences between Hydra 1.3 and 1.4."""

from hydra import __version__, version

IS_1_3 = __version__.startswith("1.3.")


def set_version_base() -> None:
    """Let Hydra 1.3 refuse deprecated syntax, as 1.4 always does."""
    if IS_1_3:
        version.setbase("1.3")
