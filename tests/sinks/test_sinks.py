"""What sinks write is read back by those for whom it is written."""

import io
import json
import os

import pytest
from rich.console import Console

from normexp.record import Histogram, Record
from normexp.sinks.jsonl import JsonLines
from normexp.sinks.tensorboard import TensorBoard
from normexp.sinks.terminal import Terminal

HISTOGRAM = Histogram([0.0, *range(1, 65)], [2] * 64, 0.5, 63.5, 4096.0, 300_000.0, 1)


def record(step, scalars, histograms=None):
    return Record(step, step / 10, step / 100, scalars, histograms or {})


def test_tensorboard_reads_back_what_was_logged(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sink = TensorBoard(tmp_path, {"norm": "bn", "lr": 0.1, "epochs": None, "model.channels": (1, 2)}, ["test/accuracy"])
    for step in range(1, 1501):
        sink.log(record(step, {"train/loss": 1 / step, "lr": 0.5, "convergence/steps_to_99": None}))
    sink.log(record(1501, {"test/accuracy": 0.75, "train/loss": float("nan")}, {"activation/conv1/in": HISTOGRAM}))
    sink.close()
    (path,) = tmp_path.iterdir()
    events = EventAccumulator(str(path), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    losses = events.Scalars("train/loss")
    assert [e.step for e in losses] == list(range(1, 1502))
    assert [e.value for e in losses[:-1]] == pytest.approx([1 / step for step in range(1, 1501)])
    assert losses[-1].value != losses[-1].value
    assert "convergence/steps_to_99" not in events.Tags()["scalars"]
    (histogram,) = events.Histograms("activation/conv1/in")
    value = histogram.histogram_value
    assert (value.min, value.max, value.num, value.sum) == (0.5, 63.5, 128, 4096)
    assert list(value.bucket_limit) == HISTOGRAM.edges[1:]
    assert list(value.bucket) == HISTOGRAM.counts
    plugins = events.PluginTagToContent("hparams")
    assert set(plugins) == {"_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"}
    start = plugins["_hparams_/session_start_info"]
    for text in (b"norm", b"lr", b"epochs", b"null", b"[1,2]"):
        assert text in start


def test_the_event_file_has_tensorboards_checksums(tmp_path):
    """tensorboard's reader checks each record's; a wrong one is refused."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    sink = TensorBoard(tmp_path, {}, [])
    sink.log(record(1, {"train/loss": 1.0}))
    sink.close()
    (path,) = tmp_path.iterdir()
    assert len(list(RawEventFileLoader(str(path)).Load())) == 5
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    assert len(list(RawEventFileLoader(str(path)).Load())) < 5


def test_json_lines_are_strict(tmp_path):
    sink = JsonLines(tmp_path / "metrics.jsonl")
    sink.log(record(1, {"a": 0.1, "b": float("nan"), "c": float("-inf"), "d": None}))
    sink.log(record(2, {}, {"h": HISTOGRAM}))
    # Before `close`: a kill loses nothing that was logged.
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()

    def refuse(text):
        raise AssertionError(text)

    assert json.loads(line, parse_constant=refuse) == {
        "step": 1,
        "epoch": 0.1,
        "seconds": 0.01,
        "a": 0.1,
        "b": None,
        "c": None,
        "d": None,
        "nonfinite": {"b": "nan", "c": "-inf"},
    }
    sink.close()


def test_plain_lines_where_the_output_is_no_terminal():
    out = io.StringIO()
    sink = Terminal(Console(file=out, width=80), 100)
    sink.log(record(0, {"val/accuracy": 0.1, "val/loss": 2.3}))
    sink.log(record(50, {"train/loss": 0.5, "grad_norm/total": 3.0}))
    sink.log(record(100, {"train/loss": 0.25, "val/accuracy": 0.9, "val/loss": 0.3}))
    sink.close()
    first, last = out.getvalue().splitlines()
    assert first.startswith("step 0/100")
    assert last == "step 100/100  epoch 10  train loss 0.25  val loss 0.3  val accuracy 0.9  grad norm 3"
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_one_live_line_on_a_terminal(width):
    out = io.StringIO()
    sink = Terminal(Console(file=out, width=width, force_terminal=True), 100)
    sink.log(record(100, {"train/loss": 0.5, "val/accuracy": 0.9, "grad_norm/total": 3.0}))
    sink.close()
    assert "loss 0.5  val acc 0.9  grad 3" in out.getvalue()
    if width >= 80:
        assert "100/100" in out.getvalue()


def test_a_closed_pipe_ends_the_display_and_not_the_run():
    import subprocess
    import sys

    read, write = os.pipe()
    os.close(read)
    code = (
        "from normexp.sinks.terminal import RunConsole\n"
        "console = RunConsole()\n"
        "console.print('into the closed pipe')\n"
        "console.print('once more')\n"
        "raise SystemExit(7 if console.quiet else 8)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (7, b"")
