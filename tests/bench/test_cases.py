"""The combinations of models, norms and batch sizes that are measured."""

import pytest

from normexp.bench.cases import BATCH_SIZES, has_effect, plan_cases
from normexp.config import ConfigError
from normexp.models import MODELS
from normexp.norms import NORMS
from tests.conftest import MAPS_ONLY


def test_by_default_everything_that_works():
    cases, skipped = plan_cases([])
    assert [(case.model, case.batch_size) for case in cases] == [(m, size) for m in MODELS for size in BATCH_SIZES]
    assert {case.model: case.data for case in cases} == {
        "mlp": "mnist",
        "cnn": "mnist",
        "resnet": "cifar10",
        "vgg": "cifar10",
        "vit": "mnist",
        "rnn": "mnist",
    }
    assert {(skip.model, skip.norm) for skip in skipped} == {
        (model, norm) for model in ("mlp", "rnn") for norm in MAPS_ONLY
    }
    for case in cases:
        assert list(case.norms) == [norm for norm in NORMS if case.model not in ("mlp", "rnn") or norm not in MAPS_ONLY]
        for norm, config in case.norms.items():
            assert (config.norm.name, config.model.name, config.batch_size) == (norm, case.model, case.batch_size)


def test_keys_hold_for_the_choices_that_have_them():
    cases, _ = plan_cases(
        ["model=mlp,cnn", "norm=gn,bn", "model.width=8", "norm.groups=2", "batch_size=4", "dropout=0.5"]
    )
    mlp, cnn = (case.norms for case in cases)
    assert list(mlp) == ["none", "bn", "gn"]
    assert {config.model.width for config in mlp.values()} == {8}
    assert cnn["gn"].norm.groups == 2
    assert {config.dropout for config in [*mlp.values(), *cnn.values()]} == {0.5}


def test_what_cannot_work_is_left_out_with_its_reason():
    cases, skipped = plan_cases(["model=mlp", "norm=bn,ln", "batch_size=range(1,3)", "data=digits"])
    assert [list(case.norms) for case in cases] == [["none", "ln"], ["none", "bn", "ln"]]
    (skip,) = skipped
    assert (skip.norm, skip.batch_size) == ("bn", 1)
    assert "a batch size of 1" in skip.reason


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model=mlp", "norm=in"], "norm=in can't work in layer fc1"),
        (["lr=0.1"], "lr has no effect here. bench accepts model, norm, batch_size, data"),
        (["experiment=depth"], "experiment has no effect"),
        (["norm=bn", "norm.groups=2"], "norm.groups exists only with norm=gn and norm=evonorm."),
        (["dropout=0,0.5"], "only model, norm, batch_size can have several values."),
        (["batch_size=0,8"], "batch_size=0: batch_size must be an integer >= 1."),
        (["batch_size=[8,16]"], "batch_size=[8,16]: batch_size must be an integer"),
        (["batch_size=range(1,100000000)"], "batch_size needs 1 to 100 values"),
        (["batch_size=range(1,9,0)"], "separate the values with commas"),
        (["batch_size=interval(1,9)"], "separate the values with commas"),
        (["norm=glob(*)"], "separate the values with commas"),
        (["dropout=2"], "dropout=2"),
        (["norm.groups=0"], "norm.groups=0: norm.groups must be auto or an integer >= 1."),
        (["norm.eps=${dropout}"], "bench accepts values only"),
        (["model=mlp", "batch_size=60000"], "batch_size can be at most 54000"),
    ],
)
def test_what_is_refused(overrides, says):
    with pytest.raises(ConfigError) as error:
        plan_cases(overrides)
    assert says in str(error.value)


def test_keys_with_an_effect():
    assert has_effect("norm") and has_effect("norm.eps") and has_effect("activation")
    assert not has_effect("optim") and not has_effect("steps") and not has_effect("data.val_size")
