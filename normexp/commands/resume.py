"""`normexp resume DIR`: resume or extend a run from its newest checkpoint, or resume a sweep."""

from pathlib import Path

from normexp.commands.resume_run import resume_run
from normexp.commands.resume_sweep import resume_sweep
from normexp.config import ConfigError, show, suggest
from normexp.sweeps.manifest import read_manifest

HELP = """\
usage: normexp resume RUN [epochs=N | steps=N]
  resume a run from its last checkpoint, as if it had never been stopped;
  a completed run can be extended by more epochs or steps, for which a
  schedule that depends on the length is stretched; data_dir, device, threads
  and checkpoint_every can be changed as well
usage: normexp resume SWEEP [jobs=N]
  resume a sweep: finished runs stay as they are, the others are resumed or
  trained; data_dir can be changed as well"""


def main(argv: list[str]) -> int:
    """Resume the run or the sweep; returns the exit code. Raises ConfigError if the folder is neither."""
    if not argv or argv[0].startswith("-"):
        raise ConfigError("resume needs the folder of a run or sweep first: normexp resume runs/NAME.")
    folder = Path(argv[0]).expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError(f"{show(argv[0])} is not a folder.{_suggest_folder(argv[0], folder)}")
    manifest = read_manifest(folder)
    if manifest is not None:
        return resume_sweep(folder, manifest, argv[0], argv[1:])
    if any((folder / name).exists() for name in ("config.yaml", "status.json")):
        return resume_run(Path(argv[0]).expanduser(), argv[1:])
    raise ConfigError(f"{show(argv[0])} is not the folder of a run or sweep; normexp runs lists them.")


def _suggest_folder(word: str, folder: Path) -> str:
    inside = Path("runs") / word
    if inside.is_dir():
        return f" Did you mean {inside}?"
    if folder.is_file():
        return f" Did you mean {Path(word).parent}?"
    siblings = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    return suggest(folder.name, siblings) or " normexp runs lists runs and sweeps."
