"""scripts/same_runs.py compares two runs."""

import shutil

import same_runs

from tests.training.short import train


def test_a_text_that_differs_is_named_by_its_step_and_tag(tmp_path, monkeypatch):
    run = train(tmp_path / "runs").directory
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    assert same_runs.differences(run, copy) == []
    read = same_runs.event_summaries
    change = lambda event: (*event[:2], b"other") if event[1] == "layers/text_summary" else event  # noqa: E731
    monkeypatch.setattr(
        same_runs, "event_summaries", lambda path: [change(e) if path == copy else e for e in read(path)]
    )
    (line,) = same_runs.differences(run, copy)
    assert line.startswith("events: entry ")
    assert line.count("(0, 'layers/text_summary'") == 2
