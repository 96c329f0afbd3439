"""Random damage to the files of a run, for hypothesis."""

import json

from hypothesis import strategies as st

from tests.report.runs import make_run, write_metrics

KEYS = {
    "status.json": ["state", "step", "total_steps", "seconds", "metrics", "error", "pid", "host", "started"],
    "config.yaml": ["model", "norm", "lr", "seed", "data"],
    "metrics.jsonl": ["step", "train/loss"],
}


def damaged(folder, data):
    """A folder with an intact run, and one with damaged files: truncated, changed, or with unexpected values."""
    make_run(folder, name="good")
    directory = make_run(folder, name="bad", norm="bn", seed=1)
    write_metrics(directory, [{"step": step, "train/loss": 1 / (step + 1)} for step in range(5)])
    for name in data.draw(st.sets(st.sampled_from(sorted(KEYS)), min_size=1)):
        content = bytearray((directory / name).read_bytes())
        match data.draw(st.sampled_from(["cut", "change", "insert", "replace", "value"])):
            case "cut":
                del content[data.draw(st.integers(0, len(content))) :]
            case "change":
                content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
            case "insert":
                position = data.draw(st.integers(0, len(content)))
                content[position:position] = data.draw(st.binary(max_size=8))
            case "replace":
                content = bytearray(data.draw(st.binary(max_size=40)))
            case "value":
                content = bytearray(json.dumps(data.draw(_tree(name))).encode())
        (directory / name).write_bytes(content)
    return folder


def _tree(name):
    """JSON, which is also yaml, with arbitrary values under the usual keys."""
    numbers = st.integers() | st.floats(allow_nan=False) | st.just(10**400)
    value = st.recursive(
        st.none() | st.booleans() | numbers | st.text(max_size=5) | st.just("\ud800"),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    )
    drawn = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS[name], value))
    if name == "status.json":
        metrics = st.dictionaries(st.sampled_from(["test/accuracy", "val/accuracy", "lr", "x"]), value)
        states = st.sampled_from(["completed", "running", "diverged", "failed", "skipped", "interrupted"])
        return st.builds(lambda tree, **own: tree | own, drawn, metrics=metrics, state=states)
    return drawn
