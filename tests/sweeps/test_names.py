"""Names of sweeps and runs depend only on the overrides, not on their order."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from normexp.sweeps.names import labels, run_name, short_labels, sweep_name

KEYS = ["norm", "norm.eps", "model", "model.channels", "lr", "seed", "batch_size", "data.augment"]
overrides = st.dictionaries(
    st.sampled_from(KEYS), st.text(alphabet="abz01._[],*/ é=-+~'", min_size=1, max_size=60), min_size=1
)


def joined(values):
    return [f"{key}={value}" for key, value in values.items()]


def test_the_order_is_the_config_s_and_the_seed_is_last():
    assert run_name(["seed=3", "lr=0.1", "norm.eps=1", "norm=bn", "batch_size=8"]) == (
        "norm=bn_norm.eps=1_lr=0.1_batch-size=8_seed=3"
    )
    assert run_name(["name=x", "runs_dir=y", "jobs=3", "experiment=lr-range", "hydra.sweeper.n_trials=3"]) == "defaults"
    assert sweep_name(["experiment=lr-range", "seed=0,1", "norm=bn,ln"], "lr-range") == "lr-range_norm=bn,ln_seed=0,1"


@given(overrides, st.randoms(use_true_random=False))
def test_the_order_of_the_command_line_does_not_matter(values, random):
    shuffled = joined(values)
    random.shuffle(shuffled)
    assert run_name(shuffled) == run_name(joined(values))


@given(overrides, overrides)
@example({"norm": "'"}, {"norm": "_"})
@example({"data": "a_b"}, {"data": "a-b"})
def test_different_runs_have_different_names_that_every_file_system_takes(one, other):
    first, second = run_name(joined(one)), run_name(joined(other))
    one, other = ({k: v.strip() for k, v in each.items()} for each in (one, other))
    if one != other:
        plain = [re.sub(r"[\[\]'\"]", "", "_".join(sorted(joined(each)))) for each in (one, other)]
        assert first != second or plain[0] == plain[1]  # brackets and quotes tell no valid values apart
    for name in (first, second):
        assert 0 < len(name.encode()) < 200
        assert re.fullmatch(r"[A-Za-z0-9=.,+~_-]+", name)


def test_labels_show_what_differs():
    names = ["norm=bn_batch-size=8_lr=0.1_seed=0", "norm=bn_batch-size=64_lr=0.1_seed=1"]
    assert list(short_labels(names).values()) == ["batch-size=8 seed=0", "batch-size=64 seed=1"]
    assert short_labels(["defaults"]) == {"defaults": "defaults"}


def test_labels_show_all_of_what_differs_and_nothing_else():
    shared = ["model=mlp", "data.train_size=200", "activation=sigmoid", "dropout_layers=[fc1,fc2]", "batch_size=100"]
    overrides = {}
    for norm in ("bn", "ln"):
        for widths in ("[16,32]", "[16,64]"):
            own = [*shared, f"norm={norm}", f"model.widths={widths}", "seed=0"]
            overrides[run_name(own)] = own
    assert all("~" in name for name in overrides)
    assert list(labels(overrides).values()) == [
        f"model.widths={widths} norm={norm}" for norm in ("bn", "ln") for widths in ("[16,32]", "[16,64]")
    ]
    assert labels({"defaults": []}) == {"defaults": "defaults"}


def test_a_shortened_name_of_a_sweep_shows_what_is_swept():
    constant = ["model=mlp", "model.depth=6", "activation=sigmoid", "data.train_size=2000", "batch_size=100"]
    swept = ["lr=0.01,0.1,1", "norm=none,bn"]
    assert sweep_name([*constant, *swept], None, first=swept).startswith("norm=none,bn_lr=0.01,0.1,1_model=mlp")
    assert "lr=" not in sweep_name([*constant, "optim.momentum=0.85", *swept], None)


def test_labels_leave_out_what_follows_from_a_choice():
    overrides = {"a": ["norm=bn", "lr=1"], "b": ["norm=gn", "norm.groups=2", "lr=1"]}
    assert labels(overrides) == {"a": "norm=bn", "b": "norm=gn"}
    overrides["c"] = ["norm=gn", "norm.groups=4", "lr=1"]
    assert labels(overrides) == {"a": "norm=bn", "b": "norm=gn norm.groups=2", "c": "norm=gn norm.groups=4"}
