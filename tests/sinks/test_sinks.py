"""What sinks write is read back with TensorBoard's reader, a JSON parser and a terminal."""

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from normexp.records import Chart, Histogram, Hyperparameter, Picture, Record, RunInfo
from normexp.sinks.jsonl import JsonLines
from normexp.sinks.progress_bar import ProgressBar
from normexp.sinks.tensorboard import TensorBoard

HISTOGRAM = Histogram([0.0, *range(1, 65)], [2] * 64, 0.5, 63.5, 4096.0, 300_000.0, 1)


INFO = RunInfo(
    hyperparameters={
        "norm": Hyperparameter(str, "bn"),
        "lr": Hyperparameter(float, 0.1),
        "epochs": Hyperparameter(float, None),
        "norm.affine": Hyperparameter(bool, False),
    },
    metrics=["test/accuracy"],
    texts={"layers": "| layer |"},
    charts=[
        Chart("Net", "loss", lines=["train/loss", "val/.*"]),
        *(Chart("Inputs", n, band=(f"in/{n}/p50", f"in/{n}/p15", f"in/{n}/p85")) for n in ("fc1", "fc2")),
    ],
)


def record(step, scalars, histograms=None):
    return Record(step, step / 10, step / 100, scalars, histograms or {})


def test_tensorboard_reads_back_what_was_logged(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sink = TensorBoard(tmp_path, INFO)
    for step in range(1, 1501):
        sink.log(record(step, {"train/loss": 1 / step, "lr": 0.5, "convergence/steps_to_99": None}))
    sink.log(record(1501, {"test/accuracy": 0.75, "train/loss": float("nan")}, {"activation_in/conv1": HISTOGRAM}))
    sink.picture("histograms", Picture(b"png", 3, 2), 1501)
    sink.close(success=True)
    (path,) = tmp_path.iterdir()
    events = EventAccumulator(str(path), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    losses = events.Scalars("train/loss")
    assert [e.step for e in losses] == list(range(1, 1502))
    assert [e.value for e in losses[:-1]] == pytest.approx([1 / step for step in range(1, 1501)])
    assert losses[-1].value != losses[-1].value
    assert "convergence/steps_to_99" not in events.Tags()["scalars"]
    (histogram,) = events.Histograms("activation_in/conv1")
    value = histogram.histogram_value
    assert (value.min, value.max, value.num, value.sum) == (0.5, 63.5, 128, 4096)
    assert list(value.bucket_limit) == HISTOGRAM.edges[1:]
    assert list(value.bucket) == HISTOGRAM.counts
    assert events.Tags()["images"] == ["histograms"]
    assert events.Images("histograms")[0].encoded_image_string == b"png"


def summaries(folder, pattern="*"):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (path,) = folder.glob(pattern)
    return {value.tag: value for event in EventFileLoader(str(path)).Load() for value in event.summary.value}


@pytest.mark.parametrize("success", [True, False])
def test_hyperparameters_have_constant_columns_with_types(tmp_path, success):
    from tensorboard.plugins.hparams import api_pb2, metadata

    sink = TensorBoard(tmp_path, INFO)
    sink.close(success=success)
    found = summaries(tmp_path)
    contents = {tag: value.metadata.plugin_data.content for tag, value in found.items() if tag.startswith("_hparams_/")}
    experiment = metadata.parse_experiment_plugin_data(contents["_hparams_/experiment"])
    assert {info.name: info.type for info in experiment.hparam_infos} == {
        "norm": api_pb2.DATA_TYPE_STRING,
        "lr": api_pb2.DATA_TYPE_FLOAT64,
        "epochs": api_pb2.DATA_TYPE_FLOAT64,
        "norm.affine": api_pb2.DATA_TYPE_BOOL,
    }
    assert [info.name.tag for info in experiment.metric_infos] == ["test/accuracy"]
    start = metadata.parse_session_start_info_plugin_data(contents["_hparams_/session_start_info"])
    assert set(start.hparams) == {"norm", "lr", "norm.affine"}  # without the one that is null
    assert (start.hparams["norm"].string_value, start.hparams["lr"].number_value) == ("bn", 0.1)
    assert start.hparams["norm.affine"].bool_value is False
    end = metadata.parse_session_end_info_plugin_data(contents["_hparams_/session_end_info"])
    assert end.status == (api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE)


def test_charts_and_texts(tmp_path):
    from tensorboard.plugins.custom_scalar import layout_pb2

    sink = TensorBoard(tmp_path, INFO)
    sink.close(success=True)
    found = summaries(tmp_path)
    layout = layout_pb2.Layout.FromString(found["custom_scalars__config__"].tensor.string_val[0])
    net, inputs = layout.category
    assert (net.title, inputs.title) == ("Net", "Inputs")
    assert list(net.chart[0].multiline.tag) == ["train/loss", "val/.*"]
    assert [chart.title for chart in inputs.chart] == ["fc2", "fc1"]  # the page shows the last first
    (series,) = inputs.chart[1].margin.series
    assert (series.value, series.lower, series.upper) == ("in/fc1/p50", "in/fc1/p15", "in/fc1/p85")
    assert found["layers/text_summary"].tensor.string_val[0] == b"| layer |"


def test_tensorboard_shows_first_what_tells_runs_apart():
    """HPARAMS shows the five columns that are declared to differ; TEXT sorts by title."""
    from tensorboard.plugins.hparams import metadata

    from normexp.cli import main

    assert main(["train", "norm=ln", "steps=2", "name=run", "probe=off"]) == 0
    found = summaries(Path("runs/run"), "events*")
    content = found["_hparams_/experiment"].metadata.plugin_data.content
    columns = metadata.parse_experiment_plugin_data(content).hparam_infos
    assert {info.name for info in columns if info.differs} == {"norm", "model", "data", "lr", "batch_size"}
    first, *others = sorted(tag for tag in found if tag.endswith("/text_summary"))
    assert "name: ln" in found[first].tensor.string_val[0].decode()
    assert "steps: 2" in found[first].tensor.string_val[0].decode()
    assert len(found[first].tensor.string_val[0]) < 100
    assert [tag.partition("/")[0] for tag in others] == ["config", "layers"]


def test_the_event_file_has_tensorboards_checksums(tmp_path):
    """TensorBoard's reader verifies them, and refuses a wrong one."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    sink = TensorBoard(tmp_path, RunInfo({}, []))
    sink.log(record(1, {"train/loss": 1.0}))
    sink.close(success=True)
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
    sink.close(success=True)


def test_a_file_continues_a_saved_state_only_at_the_end_of_a_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    sink = JsonLines(path)
    assert JsonLines.is_continuation(path, sink.state_dict())
    sink.log(record(1, {"a": 0.1}))
    sink.log(record(2, {"a": 0.2}))
    saved = sink.state_dict()
    sink.log(record(3, {"a": 0.3}))
    sink.close(success=True)
    whole = path.read_text()
    assert JsonLines.is_continuation(path, saved)
    spaced = whole.replace(":", ": ").replace(",", ", ")
    pretty = "".join(json.dumps(json.loads(line), indent=1) + "\n" for line in whole.splitlines())
    for text in (spaced, whole[: saved["size"] - 1], "", whole.replace("\n", "\r\n"), whole.replace("0.1", "0.12")):
        path.write_text(text)
        assert not JsonLines.is_continuation(path, saved)
    path.write_text(pretty)
    assert not any(JsonLines.is_continuation(path, {"size": size}) for size in range(1, len(pretty)))
    path.unlink()
    assert not JsonLines.is_continuation(path, saved)


def test_plain_lines_without_a_terminal():
    out = io.StringIO()
    sink = ProgressBar(Console(file=out, width=80), 100)
    sink.log(record(0, {"val/accuracy": 0.1, "val/loss": 2.3}))
    sink.log(record(50, {"train/loss": 0.5, "grad_norm/total": 3.0}))
    sink.log(record(100, {"train/loss": 0.25, "val/accuracy": 0.9, "val/loss": 0.3}))
    sink.close(success=True)
    first, last = out.getvalue().splitlines()
    assert first.startswith("step 0/100")
    assert last == "step 100/100  epoch 10  train loss 0.25  val loss 0.3  val acc 90.00 %  grad norm 3"
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_progress_bar_on_a_terminal(width):
    out = io.StringIO()
    sink = ProgressBar(Console(file=out, width=width, force_terminal=True), 100)
    sink.log(record(100, {"train/loss": 0.5, "val/accuracy": 0.9, "grad_norm/total": 3.0}))
    sink.close(success=True)
    assert "loss 0.5  val acc 90.00 %  grad 3" in out.getvalue()
    if width >= 80:
        assert "100/100" in out.getvalue()


def test_the_bar_says_that_an_evaluation_runs():
    out = io.StringIO()
    sink = ProgressBar(Console(file=out, width=100, force_terminal=True), 100)
    with sink.evaluating():
        assert "evaluating" in out.getvalue()
    sink.log(record(1, {"train/loss": 0.5}))
    before = len(out.getvalue())
    with sink.evaluating():  # the last one was too short to be noticed
        assert len(out.getvalue()) == before
    sink.close(success=True)
    plain = io.StringIO()
    with ProgressBar(Console(file=plain), 100).evaluating():
        assert plain.getvalue() == ""


def test_a_closed_pipe_ends_the_display_and_not_the_run():
    import subprocess
    import sys

    read, write = os.pipe()
    os.close(read)
    code = (
        "from normexp.sinks.progress_bar import RunConsole\n"
        "console = RunConsole()\n"
        "console.print('into the closed pipe')\n"
        "console.print('once more')\n"
        "raise SystemExit(7 if console.quiet else 8)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (7, b"")
