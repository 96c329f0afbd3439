"""Read back what a tracker has stored, with its own library where that can: `python tracker_readers.py TRACKER` prints its runs
as JSON, each with name, group, config, metrics (values by step, by tag), histograms (tags), files and state."""

import json
import struct
import sys
from pathlib import Path


def mlflow():
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("normexp")
    for run in client.search_runs([experiment.experiment_id]):
        metrics = {}
        for tag in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, tag)
            assert len(history) == len({metric.step for metric in history})  # none is sent twice
            metrics[tag] = {metric.step: metric.value for metric in history}
        yield {
            "name": run.info.run_name,
            "group": run.data.tags.get("sweep"),
            "config": run.data.params,
            "metrics": metrics,
            "histograms": [],
            "files": [file.path for file in client.list_artifacts(run.info.run_id)],
            "state": run.info.status,
        }


def wandb_records(path):
    """Payloads of a .wandb file: a header of 7 bytes, then the format of LevelDB's log (doc/log_format.md there)."""
    data, at, payload = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        payload += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield payload
            payload = b""


def wandb():
    from wandb.proto import wandb_internal_pb2

    runs = {}
    for path in sorted(Path("wandb").glob("offline-run-*/run-*.wandb")):
        for payload in wandb_records(path):
            record = wandb_internal_pb2.Record.FromString(payload)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                new = {"name": record.run.display_name, "group": record.run.run_group}
                new["config"] = {item.key: json.loads(item.value_json) for item in record.run.config.update}
                run = runs.setdefault(record.run.run_id, {**new, "metrics": {}, "histograms": [], "files": []})
            elif kind == "history":
                items = {
                    tuple(item.nested_key or [item.key]): json.loads(item.value_json) for item in record.history.item
                }
                run["histograms"] += [key[0] for key, value in items.items() if value == "histogram"]
                for (tag, *inner), value in items.items():
                    if not inner and "/" in tag:
                        assert items["_step",] not in run["metrics"].setdefault(tag, {})
                        run["metrics"][tag][items["_step",]] = value
            elif kind == "files":
                run["files"] += [Path(file.path).name for file in record.files.files]
            elif kind == "exit":
                run["state"] = record.exit.exit_code
    yield from runs.values()


def trackio():
    import trackio as library
    from trackio.sqlite_storage import SQLiteStorage

    for run in library.Api().runs("normexp"):
        entries = SQLiteStorage.get_logs("normexp", run.name, run_id=run.id)
        metrics, histograms = {}, []
        for entry in entries:
            for tag, value in entry.items():
                if isinstance(value, dict) and value["_type"] == "trackio.histogram":
                    histograms.append(tag)
                elif "/" in tag:
                    assert entry["step"] not in metrics.setdefault(tag, {})
                    metrics[tag][entry["step"]] = value
        root = Path(library.utils.TRACKIO_DIR)
        yield {
            "name": run.name,
            "group": run.config["_Group"],
            "config": run.config,
            "metrics": metrics,
            "histograms": histograms,
            "files": [path.name for path in root.rglob("*.png")] + [path.name for path in root.rglob("blobs/*/*/*")],
            "state": None,
        }


if __name__ == "__main__":
    print(json.dumps(list(globals()[sys.argv[1]]())))
