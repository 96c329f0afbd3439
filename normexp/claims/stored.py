"""Claims with their verdicts on disk: on the data of their files, and on other data."""

import itertools
from dataclasses import replace
from pathlib import Path

from normexp.claims.fingerprint import code_fingerprint, outdated_by
from normexp.claims.headline import outdated, reworded
from normexp.claims.load import claim_names, read_claim
from normexp.claims.other_data import label, on_data
from normexp.claims.schema import SEPARATOR, Claim, Group, Scale
from normexp.claims.verdict import Verdict, path_of, read
from normexp.config import ConfigError, show

Row = tuple[Claim, Verdict | None]


def read_all(
    folder: Path, config_dir: Path | None, *, quick: bool, groups: tuple[Group, ...] = ()
) -> tuple[list[Row], list[str]]:
    """All claims with their verdicts, experiments first, a claim on other data after the claim itself; and a sentence for each
    file that is not valid. groups: the only ones to read; empty for all."""
    rows, broken = list[Row](), list[str]()
    for name in claim_names(config_dir):
        try:
            claim = read_claim(name, config_dir)
            if groups and claim.group not in groups:
                continue
            rows.append((claim, read_verdict(folder, name, config_dir, quick=quick)))
            for data in other_data(folder, name):
                rows.append((claim, read_verdict(folder, name, config_dir, quick=quick, data=data)))
        except ConfigError as error:
            broken.append(str(error))
    return sorted(rows, key=lambda row: row[0].kind == "exact"), broken


def other_data(folder: Path, name: str) -> list[str]:
    """The data, other than the file's own, on which a claim has verdicts."""
    verdicts = ((path, read(path)) for path in sorted(folder.glob(f"{name}{SEPARATOR}*.json")))
    named = dict.fromkeys(
        verdict.data for path, verdict in verdicts if verdict and label(verdict.data) == _label_of(path)
    )
    return [data for data in named if "/" not in data or Path(data).is_absolute()]


def data_labelled(folder: Path, word: str, config_dir: Path | None) -> tuple[str, str]:
    """The claim and the data of a name such as faster@kmnist. Raises ConfigError if either is unknown."""
    name, _, wanted = word.partition(SEPARATOR)
    read_claim(name, config_dir)
    for data in other_data(folder, name):
        if label(data) == wanted:
            return name, data
    raise ConfigError(
        f"{show(word)} has no verdict; normexp claims run {show(name)} --data DATA runs a claim on other data."
    )


def read_verdict(folder: Path, name: str, config_dir: Path | None, *, quick: bool, data: str = "") -> Verdict | None:
    """The best verdict on a claim: full scale before small, and full before quick unless `quick`.

    A fresh verdict gets the current sentences of the claim's file, any other is marked as outdated, with what has changed.
    """
    scales: tuple[Scale, ...] = ("full", "small")
    for scale, is_quick in itertools.product(scales, (True, False) if quick else (False, True)):
        stem = f"{name}{SEPARATOR}{label(data)}" if data else name
        verdict = read(path_of(folder, stem, scale=scale, quick=is_quick))
        if verdict is not None:
            return current(verdict, read_claim(name, config_dir, scale=scale, quick=is_quick), config_dir)
    return None


def current(verdict: Verdict, claim: Claim, config_dir: Path | None = None) -> Verdict:
    """A verdict with the current sentences, or marked as outdated. claim: as in its file."""
    if verdict.data:
        claim = on_data(claim, verdict.data)
    reason = outdated_by(verdict, claim, code_fingerprint(config_dir, claim))
    return outdated(replace(verdict, because=f"{reason} {verdict.because}")) if reason else reworded(verdict, claim)


def _label_of(path: Path) -> str:
    return path.name.partition(SEPARATOR)[2].partition(".")[0]
