"""`normexp resume DIR`: resume or extend a run from its newest checkpoint, or resume a sweep."""

from pathlib import Path

from normexp.config import ConfigError, show, suggest_folder
from normexp.sweeps.manifest import read_manifest

HELP = """\
usage: normexp resume RUN [epochs=N | steps=N]
  resume a run from its last checkpoint; the result is the same as without the
  stop. A completed run can be extended to more epochs or steps, which stretches
  its learning rate schedule. data_dir, device, threads, checkpoint_every and
  tracker can be changed, too.
usage: normexp resume SWEEP [jobs=N]
  resume a sweep: finished runs are kept, the others are resumed or trained.
  data_dir and tracker can be changed, too."""


def main(argv: list[str]) -> int:
    """Resume the run or the sweep; returns the exit code. Raises ConfigError if the folder is neither."""
    if not argv or argv[0].startswith("-"):
        raise ConfigError("resume needs the folder of a run or sweep: normexp resume runs/NAME.")
    folder = Path(argv[0]).expanduser().absolute()
    if not folder.is_dir():
        hint = suggest_folder(Path(argv[0])) or " normexp runs lists runs and sweeps."
        raise ConfigError(f"{show(argv[0])} is not a folder.{hint}")
    manifest = read_manifest(folder)
    if manifest is not None:
        from normexp.commands.resume_sweep import resume_sweep

        return resume_sweep(folder, manifest, argv[0], argv[1:])
    if any((folder / name).exists() for name in ("config.yaml", "status.json")):
        from normexp.commands.resume_run import resume_run

        return resume_run(Path(argv[0]).expanduser(), argv[1:])
    raise ConfigError(f"{show(argv[0])} is not the folder of a run or sweep; normexp runs lists them.")
