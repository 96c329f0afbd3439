"""Results are chosen by validation and reported on the test set."""

import statistics
from pathlib import Path

import numpy as np
import pytest

from normexp.report.aggregate import aggregate, ranking_metric, small_sample_note
from normexp.report.analysis import analyze_tasks
from normexp.report.curves import MeanCurve
from normexp.report.figures.convergence import _limits
from normexp.report.groups import group
from normexp.report.listing import list_folder
from normexp.report.read import read
from normexp.report.summary import results
from tests.report.runs import make_run, said, shown

# (validation, test) accuracy by norm and lr: the best test accuracy is never where the best validation accuracy is
ACCURACIES = {
    ("none", 0.1): [(0.80, 0.60), (0.82, 0.62), (0.84, 0.64)],
    ("none", 1.0): [(0.70, 0.90), (0.72, 0.92), (0.74, 0.94)],
    ("bn", 0.1): [(0.60, 0.98), (0.62, 0.97), (0.64, 0.96)],
    ("bn", 1.0): [(0.75, 0.70), (0.77, 0.71), (0.76, 0.72)],
}


def disagreeing_runs():
    for (norm, lr), seeds in ACCURACIES.items():
        for seed, (val, test) in enumerate(seeds):
            metrics = {"val/accuracy": val, "test/accuracy": test, "test/loss": 1 - test, "val/loss": 1 - val}
            make_run(Path("runs"), norm=norm, lr=lr, seed=seed, metrics=metrics)


def expected_choice(norms):
    """The setting with the best mean validation accuracy, and its mean test accuracy, computed from ACCURACIES."""
    means = {key: [statistics.mean(column) for column in zip(*ACCURACIES[key], strict=True)] for key in ACCURACIES}
    best = max((key for key in means if key[0] in norms), key=lambda key: means[key][0])
    return best, means[best][1]


def test_rows_are_ranked_by_validation():
    disagreeing_runs()
    rows = aggregate(group(read([Path("runs")]).runs))
    by_validation = sorted(ACCURACIES, key=lambda key: -sum(val for val, _ in ACCURACIES[key]))
    assert [(row.group.values["norm"], row.group.values["lr"]) for row in rows] == by_validation
    assert rows[0].mean == pytest.approx(0.62)
    assert rows[0].score == pytest.approx(0.82)
    by_loss = aggregate(group(read([Path("runs")]).runs), "test/loss")
    assert [row.group.label for row in by_loss] == [row.group.label for row in rows]


def test_best_of_all_and_of_each_norm():
    disagreeing_runs()
    (analysis,) = analyze_tasks(read([Path("runs")]), metric="test/accuracy", by=None)
    (norm, lr), test = expected_choice(["none", "bn"])
    first, second, *_ = results(analysis)
    best = f"norm={norm} lr={lr:g}, test accuracy {100 * test:.2f} % ± 2.00 (n=3)."
    assert first == f"Best by validation accuracy: {best}"
    for norm in ("none", "bn"):
        (_, lr), test = expected_choice([norm])
        assert f"norm={norm} {100 * test:.2f} % (lr={lr:g})" in second
    assert second.startswith("Test accuracy of each norm at its best lr, chosen by validation accuracy: ")


def test_panels_are_drawn_at_the_setting_chosen_by_validation():
    disagreeing_runs()
    (analysis,) = analyze_tasks(read([Path("runs")]), metric="test/accuracy", by=None)
    mean = {lr: statistics.mean(val for norm in ("none", "bn") for val, _ in ACCURACIES[norm, lr]) for lr in (0.1, 1.0)}
    assert analysis.best.values == {"lr": max(mean, key=lambda lr: mean[lr])} == {"lr": 1.0}
    assert analysis.inside.notes == ["Shown at lr=1, chosen by validation accuracy."]


def test_the_best_of_a_sweep_in_the_list_of_runs():
    disagreeing_runs()
    (line,), _ = list_folder(Path())
    # of seed 2 of none at 0.1, which has the best validation accuracy of all runs
    assert line.accuracy == "64.00 % (best val)"


def test_other_metrics_rank_themselves():
    by = {"test/accuracy": "val/accuracy", "test/loss": "val/loss", "train/loss": "train/loss"}
    assert {tag: ranking_metric(tag) for tag in by} == by


def test_without_validation_nothing_is_called_best():
    for norm in ("none", "bn"):
        make_run(Path("runs"), norm=norm, metrics={"test/accuracy": 0.5})
    (analysis,) = analyze_tasks(read([Path("runs")]), metric="test/accuracy", by=None)
    assert not any("est" in sentence.split(":")[0] for sentence in results(analysis))


@pytest.mark.parametrize(
    ("seeds", "warning"),
    [
        (1, "n = 1: the spread over seeds is unknown."),
        (2, "n < 3: too few seeds for a reliable standard deviation."),
        (3, None),
    ],
)
def test_few_seeds_are_warned_about(seeds, warning):
    for norm in ("none", "bn"):
        for seed in range(seeds):
            make_run(Path("runs"), norm=norm, seed=seed)
    collection = read([Path("runs")])
    note = small_sample_note(aggregate(group(collection.runs)))
    assert (note or "").startswith(warning or "") and (note is None) == (warning is None)
    (analysis,) = analyze_tasks(collection, metric="test/accuracy", by=None)
    for text in (shown(200), "\n".join(results(analysis))):
        assert (warning in text) if warning else "n <" not in text


def test_a_single_row_with_too_few_seeds_is_enough_for_a_warning():
    for norm, seeds in (("none", 5), ("bn", 2)):
        for seed in range(seeds):
            make_run(Path("runs"), norm=norm, seed=seed)
    assert small_sample_note(aggregate(group(read([Path("runs")]).runs)))


def test_convergence_is_not_compared_between_evaluation_schedules(capsys):

    for name, every in (("a", None), ("b", "auto")):
        for seed in (0, 1, 2):
            metrics = {"val/accuracy": 0.9, "test/accuracy": 0.9, "convergence/steps_to_90": 10.0 + seed}
            make_run(Path(name), seed=seed, eval_every=every, metrics=metrics)
    printed = " ".join(said(capsys, "a", "b", "--metric", "convergence/steps_to_90")[1].split())
    assert "evaluated at other steps or on other samples, so B - A is not computed" in printed
    code, out, _ = said(capsys, "a", "b", "--metric", "test/accuracy")
    assert code == 0 and "not computed" not in out


def test_a_norm_of_ones_own_is_paired_with_its_base(capsys):

    for name, own in (("a", None), ("b", ["norm=slow_bn"])):
        for seed in (0, 1, 2):
            options = {"norm__momentum": 0.01, "own_choices": own} if own else {}
            make_run(Path(name), norm="bn", seed=seed, accuracy=0.9 + seed / 100, **options)
    _, out, _ = said(capsys, "a", "b")
    assert "slow_bn" in out and "paired" in out and "Confounded" not in out


def test_accuracy_has_a_linear_axis_and_loss_a_logarithmic_one():
    curve = MeanCurve(np.array([0, 1]), *(np.array([2.0, 98.0]) for _ in range(3)))
    assert _limits([curve], [], bounded=True)[2] is False
    assert _limits([curve], [], bounded=False)[2] is True
