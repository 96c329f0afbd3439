"""The histogram sheets of the runs, side by side."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from normexp.plotting.svg import esc
from normexp.report.figures.study import Study
from normexp.report.groups import Group
from normexp.report.page_html import link
from normexp.report.read import Run
from normexp.rundir import safe_read

MOST_SHEETS, MOST_BYTES = 12, 3_000_000
"""Of the sheets in the page itself; a byte is four thirds of a character there. Others are linked."""

NAME = "histograms.png"


def sheets(study: Study, page: Path) -> tuple[str, list[str]]:
    """One seed of each group: those of the figures by layer first, as many as there is room for, and links to the others."""
    first = [*study.inside.groups, *study.by_layer.groups]
    order = list({id(group): group for group in [*first, *study.grouping.groups]}.values())
    found = [(group, run) for group in order if (run := _with_sheet(group))]
    shown: list[str] = []
    linked: list[str] = []
    size = 0
    for group, run in found:
        content = _read(run.directory / NAME, most=MOST_BYTES - size) if len(shown) < MOST_SHEETS else b""
        if content.startswith(b"\x89PNG"):
            size += len(content)
            shown.append(_sheet(group, run, content, page))
        else:
            linked.append(f'<li><a href="{esc(link(run.directory / NAME, page))}">{esc(group.label)}</a></li>')
    notes = []
    if missing := len(order) - len(found):
        notes.append(f"{missing} of {len(order)} groups have no {NAME}.")
    if linked:
        notes.append(f"{len(shown)} of {len(found)} histogram sheets are in the page; the others are linked.")
    rest = f"<details><summary>{len(linked)} more</summary><ul>{''.join(linked)}</ul></details>" if linked else ""
    return (f'<div class="sheets">{"".join(shown)}</div>{rest}' if found else ""), notes


def _read(path: Path, *, most: int) -> bytes | bytearray:
    """The content of a file; empty where it can't be read, or is longer than that."""
    try:
        return safe_read.read(path, most=most)
    except OSError:
        return b""


def _with_sheet(group: Group) -> Run | None:
    """The first run of a group that has a sheet, the completed ones first."""
    ordered = sorted(group.runs, key=lambda run: run.state != "completed")
    return next((run for run in ordered if (run.directory / NAME).is_file()), None)


def _sheet(group: Group, run: Run, content: bytes | bytearray, page: Path) -> str:
    label = f"{group.label}, seed {run.config.get('seed')}" + ("" if run.state == "completed" else f", {run.state}")
    return (
        f'<figure><a href="{esc(link(run.directory / NAME, page))}"><img alt="Histograms of {esc(label)}" loading="lazy" '
        f'src="data:image/png;base64,{b64encode(content).decode()}"></a><figcaption>{esc(label)}</figcaption></figure>'
    )
