"""Reading a config: types, ranges and error messages."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normexp.compose.choices import CHOICES
from normexp.config import GROUPS, ConfigError, flatten, nearest, read, yaml_files
from normexp.rundir import check_name, slug
from tests.conftest import compose


def tree(**changes):
    return {**dataclasses.asdict(compose()), **changes}


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_has_its_file_and_its_code(group):
    assert set(yaml_files.choices(group)) == set(CHOICES[group])


@pytest.mark.parametrize(("group", "choice"), [(g, c) for g, choices in CHOICES.items() for c in choices])
def test_every_shipped_choice_composes_and_every_key_is_explained(group, choice):
    more = {"in": ["model=cnn", "norm=bn"], "mnist1d": ["model=mlp"]}.get(choice, [])
    if choice not in ("npz", "folder"):  # which need files: tests/data/test_npz.py, tests/data/test_folder.py
        config = compose(*more, f"{group}={choice}" if choice != "off" else "probe='off'")
        assert getattr(config, group).name == choice
    lines = (yaml_files.folder() / group / f"{choice}.yaml").read_text().splitlines()
    assert all("  # " in line for line in lines if not line.startswith("name:"))


def test_help_shows_the_keys_that_a_choice_inherits(capsys):
    from normexp.cli import main

    assert main(["train", "--help", "probe=full"]) == 0
    printed = capsys.readouterr().out
    assert "probe.every=10 " in printed
    assert "probe.drift=true" in printed
    assert "probe.name" not in printed
    assert "defaults" not in printed.split("Keys of probe=full")[1].split("Keys of every run")[0]


def test_root_keys_are_explained():
    lines = (yaml_files.folder() / "train.yaml").read_text().split("hydra:\n")[0].splitlines()
    keys = [line for line in lines if line and line[0].isalpha() and not line.startswith("defaults:")]
    assert len(keys) > 10
    assert all("  # " in line for line in keys)


def test_epochs_suit_the_data_unless_said():
    assert compose().epochs == 20
    assert compose("data=mnist").epochs == 3
    assert compose("steps=7").epochs is None
    assert compose("epochs=2").epochs == 2


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("lr", "fast", "lr must be a number > 0"),
        ("lr", 0, "> 0"),
        ("lr", float("nan"), "a number"),
        ("lr", float("inf"), "a number"),
        ("lr", True, "a number"),
        ("lr", [0.1], "a number"),
        ("dropout", 1.0, ">= 0 and < 1"),
        ("batch_size", 2.5, "an integer >= 1"),
        ("seed", -1, "an integer >= 0"),
        ("seed", 10**20, "an integer >= 0 and < 2^63."),
        ("steps", 10**20, " >= 1 and < 2^63 or null."),
        ("steps", 1e30, "< 2^63"),
        ("steps", 0, "an integer >= 1 or null."),
        ("steps", 0, ">= 1 or null"),
        ("activation", "rellu", "Did you mean relu?"),
        ("activation", None, "one of relu"),
        ("device", "gpu", "auto, cpu, cuda"),
        ("runs_dir", None, "a string"),
        ("norm", None, "norm is one of none, bn"),
        ("norm", "bn", "norm is one of none, bn"),
        ("norm", {"name": "bm"}, "norm is one of"),
    ],
)
def test_wrong_values_are_named_with_what_would_work(key, value, says):
    with pytest.raises(ConfigError) as caught:
        read(tree(**{key: value}), CHOICES)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{key}=")
    assert "\n" not in str(caught.value)


def test_unknown_and_missing_keys():
    with pytest.raises(ConfigError, match=r"Unknown key bach_size\. Did you mean batch_size"):
        read(tree(bach_size=3), CHOICES)
    with pytest.raises(ConfigError, match=r"Unknown key norm\.groups\. The keys are .*norm\.momentum"):
        read(tree(norm={**tree()["norm"], "groups": 4}), CHOICES)
    without = tree()
    del without["lr"]
    with pytest.raises(ConfigError, match="lr is missing"):
        read(without, CHOICES)


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("mnits", ["digits", "mnist"], "mnist"),
        ("sdg", ["sgd", "adam"], "sgd"),
        ("rellu", ["relu", "gelu"], "relu"),
        ("--jsn", ["--json", "--csv", "--html"], "--json"),
        ("--multi", ["--multirun", "--cfg"], "--multirun"),
        ("rnn", ["cnn", "mlp", "resnet"], None),
        ("--latex", ["--filter", "--metric", "--html"], None),
        ("--tsv", ["--csv"], None),
        ("imagenet", ["digits", "mnist", "cifar10"], None),
    ],
)
def test_suggestions_are_for_typos_only(word, known, meant):
    assert nearest(word, known) == meant


def test_integers_may_be_written_as_floats():
    assert read(tree(steps=1e3, epochs=None), CHOICES).steps == 1000


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(key=st.sampled_from(sorted(tree())), value=JUNK)
def test_any_value_is_accepted_or_refused_in_one_sentence(key, value):
    try:
        config = read(tree(**{key: value}), CHOICES)
    except ConfigError as error:
        assert len(str(error)) < 1000
        assert "\n" not in str(error)
        assert key in str(error)
    else:
        assert flatten(dataclasses.asdict(config))  # a complete config


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["steps=5", "epochs=5"], "leave one out"),
        (["optim.nesterov=true", "optim.momentum=0"], "above 0"),
        (["data.train_size=1294"], "1293 training samples"),
        (["data.val_size=0.0001"], "no samples left for validation"),
        (["batch_size=2000"], "at most 1293, the number of training samples"),
        (["batch_size=100", "data.train_size=99"], "at most 99"),
        (["name=a/b"], "no slash"),
    ],
)
def test_values_that_do_not_fit_together(overrides, says):
    with pytest.raises(ConfigError) as caught:
        compose(*overrides)
    assert says in str(caught.value)


def test_differences_are_what_the_user_asked_for():
    def differences(*overrides):
        return yaml_files.differences({**dataclasses.asdict(compose(*overrides)), "epochs": None})

    assert differences() == {}
    assert differences("lr=0.5", "seed=0") == {"lr": 0.5}
    assert differences("probe=full") == {"probe": {"name": "full"}}  # a choice that takes over the keys of another
    assert differences("probe=full", "probe.noise=false") == {"probe": {"name": "full", "noise": False}}
    assert differences("norm=gn", "norm.groups=2") == {"norm": {"name": "gn", "groups": 2}}
    assert differences("norm.eps=0.1", "model.channels=[8,16]") == {
        "model": {"channels": (8, 16)},
        "norm": {"eps": 0.1},
    }


@given(st.lists(st.text(max_size=300), max_size=5))
def test_directory_names_are_short_and_plain(overrides):
    name = slug(overrides)
    assert len(name) <= 80
    assert not set(name) & set('/\\:*?"<>| \n\t')


def test_long_directory_names_stay_different():
    long = [f"model.channels=[{','.join(map(str, range(50)))}]"]
    assert slug([*long, "lr=1"]) != slug([*long, "lr=2"])


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\x1b[31m", "x" * 101, " a", "a\n", "-" * 0])
def test_names_that_can_not_be_directories(name):
    with pytest.raises(ConfigError):
        check_name(name)


@pytest.mark.parametrize("name", ["bn", "lr=0.1_norm=bn", "run 3", "été", "x" * 100])
def test_names_that_can(name):
    check_name(name)
