"""Numbers of `normexp eval`, against a network in plain float64 on predictions of its own."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix, precision_score, recall_score
from torch.nn.modules.batchnorm import _BatchNorm

from normexp.cli import main
from normexp.plotting import confusion as picture
from normexp.rundir.evaluations import read_evaluations
from normexp.training import evaluate_run
from normexp.training.build import build
from normexp.training.checkpoint import load
from tests.conftest import compose

TRAIN = ["model=mlp", "model.width=24", "model.depth=2", "data=npz", "data.path=digits.npz", "steps=15"]
TRAIN += ["batch_size=50", "eval_every=15", "probe=off"]

CHUNK = {"norm=bn norm.ghost_batch=25": 25, "norm=bn norm.estimator=moments": 50, "norm=brn": 50}
"""Samples that are normalized together."""


@pytest.fixture
def test_images():
    """230 test images, which are no multiple of the batch size, sorted by class."""
    x, y = load_digits(return_X_y=True)
    x, first = np.unique((x * 15).astype(np.uint8).reshape(-1, 8, 8), axis=0, return_index=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[first][order]
    test = np.argsort(y[700:930], kind="stable") + 700
    np.savez("digits.npz", x_train=x[:700], y_train=y[:700], x_test=x[test], y_test=y[test])
    return x[test], y[test]


class Plain:
    """The run's network: relu(bn(W x)) twice, then a linear map. Inputs are standardized by the training images."""

    def __init__(self, directory, words):
        self.weights = {k: v.double() for k, v in load(directory / "checkpoint.pt")["model"].items()}
        self.training = build(compose(*TRAIN, *words.split())).data.train.images[:, 0].double().numpy()
        self.running = [
            (self.weights[f"fc{k}.norm.running_mean"], self.weights[f"fc{k}.norm.running_var"]) for k in (1, 2)
        ]

    def inputs(self, images):
        standardized = (images - self.training.mean()) / self.training.std()
        return torch.from_numpy(standardized).flatten(1)

    def logits(self, x, statistics):
        """statistics: (mean, var) of each bn, or None: those of x. Also returns the inputs of each bn."""
        seen = []
        for k in (1, 2):
            z = x @ self.weights[f"fc{k}.weight.weight"].T
            seen.append(z)
            mean, var = statistics[k - 1] if statistics else (z.mean(0), ((z - z.mean(0)) ** 2).mean(0))
            scaled = (z - mean) / (var + 1e-5).sqrt()
            x = (scaled * self.weights[f"fc{k}.norm.weight"] + self.weights[f"fc{k}.norm.bias"]).clamp(min=0)
        return x @ self.weights["head.weight.weight"].T + self.weights["head.weight.bias"], seen

    def recomputed(self, x, chunk, *, moments):
        """Mean and variance of each bn over chunks, each normalized by its own statistics."""
        seen = [self.logits(part, None)[1] for part in x.split(chunk)]
        result = []
        for values in zip(*seen, strict=True):
            mean = torch.stack([z.mean(0) for z in values]).mean(0)
            paper = torch.stack([z.var(0, correction=1) for z in values]).mean(0)
            result.append((mean, torch.cat(values).var(0, correction=0) if moments else paper))
        return result


@pytest.mark.parametrize("words", CHUNK)
def test_recomputed_statistics(words, test_images, monkeypatch):
    """Of the training data, and of shifted test data in the order that was drawn: every bn, loss, accuracy and confusions."""
    assert main(["train", *TRAIN, *words.split(), "name=x"]) == 0
    statistics, drawn = [], []

    def predictions(model, target, order):
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        statistics.append([(norm.running_mean.double(), norm.running_var.double()) for norm in norms])
        return real_predictions(model, target, order)

    def target_batches(*args, **options):
        drawn.extend(real_batches(*args, **options))
        return iter(drawn)

    real_predictions, real_batches = evaluate_run.predictions, evaluate_run.target_batches
    monkeypatch.setattr(evaluate_run, "predictions", predictions)
    monkeypatch.setattr(evaluate_run, "target_batches", target_batches)
    for source in ([], ["statistics_from=train"], ["statistics_from=test"]):
        assert main(["eval", "runs/x", "shift=invert", *source]) == 0

    plain, moments = Plain(Path("runs/x"), words), "moments" in words
    images, labels = test_images
    shifted, training = plain.inputs(255.0 - images), plain.inputs(plain.training)
    assert [len(batch) for batch in drawn] == [50] * 4
    order = torch.cdist(torch.cat(drawn).flatten(1).double(), shifted).argmin(1)
    assert torch.allclose(torch.cat(drawn).flatten(1).double(), shifted[order], atol=1e-5)
    assert len(set(order.tolist())) == 200
    assert len(set(labels[order[:50]])) > 5  # though they are sorted by class
    expected = [
        plain.running,
        plain.recomputed(training[: len(training) // 50 * 50], CHUNK[words], moments=moments),
        plain.recomputed(shifted[order], CHUNK[words], moments=moments),
    ]
    for own, ours, entry in zip(expected, statistics, read_evaluations(Path("runs/x")), strict=True):
        for pair, our_pair in zip(own, ours, strict=True):
            assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(pair, our_pair, strict=True))
        logits, _ = plain.logits(shifted, own)
        log_probability = logits - logits.logsumexp(1, keepdim=True)
        assert np.isclose(entry["loss"], -log_probability[torch.arange(230), torch.tensor(labels)].mean(), rtol=1e-5)
        assert entry["accuracy"] == float((logits.argmax(1).numpy() == labels).mean())
        assert entry["confusion"] == confusion_matrix(labels, logits.argmax(1)).tolist()


def test_batch_statistics(test_images, monkeypatch):
    """Each batch of the size that was asked for, in random order; and in training's size, as in the run's own metric."""
    assert main(["train", *TRAIN, "norm=bn", "name=x"]) == 0
    plain, (images, labels), drawn = Plain(Path("runs/x"), "norm=bn"), test_images, []

    def shuffled(*args, **options):
        drawn[:] = real_shuffled(*args, **options)
        return iter(drawn)

    real_shuffled = evaluate_run.shuffled
    monkeypatch.setattr(evaluate_run, "shuffled", shuffled)
    for size in (2, 7, 230):
        assert main(["eval", "runs/x", "norm.statistics=batch", f"batch_size={size}"]) == 0
        index = torch.cat(drawn)
        assert [len(batch) for batch in drawn] == [size] * (230 // size)
        assert len(index.unique()) == 230 // size * size
        assert not index.equal(index.sort().values)
        logits = torch.cat([plain.logits(plain.inputs(images[batch]), None)[0] for batch in drawn])
        log_probability = logits - logits.logsumexp(1, keepdim=True)
        entry = read_evaluations(Path("runs/x"))[-1]
        assert entry["batch_size"] == size
        of_label = log_probability[torch.arange(len(index)), torch.tensor(labels)[index]]
        assert np.isclose(entry["loss"], -of_label.mean(), rtol=1e-5)
        assert entry["confusion"] == confusion_matrix(labels[index], logits.argmax(1), labels=range(10)).tolist()
    assert evaluate_run.trained_model(Path("runs/x"), compose(*TRAIN)).fc1.norm.running_mean.equal(
        load(Path("runs/x/checkpoint.pt"))["model"]["fc1.norm.running_mean"]
    )


def test_the_table_of_classes_and_the_picture(test_images, capsys, monkeypatch):
    assert main(["train", *TRAIN, "norm=bn", "name=x"]) == 0
    figures = []
    encode = picture.encode_figure
    monkeypatch.setattr(
        picture, "encode_figure", lambda figure, *args: (figures.append(figure), encode(figure, *args))[1]
    )
    capsys.readouterr()
    assert main(["eval", "runs/x", "--confusion", "matrix.svg"]) == 0
    printed = capsys.readouterr().out
    plain, (images, labels) = Plain(Path("runs/x"), "norm=bn"), test_images
    predicted = plain.logits(plain.inputs(images), plain.running)[0].argmax(1).numpy()
    matrix = confusion_matrix(labels, predicted)
    assert 5 < np.trace(matrix) < 225
    recall = recall_score(labels, predicted, average=None)
    precision = precision_score(labels, predicted, average=None, zero_division=np.nan)
    table, _, grid = printed.partition("confusion matrix")
    rows = [line for line in table.splitlines() if re.match(r" *\d ", line)]
    for k, row in enumerate(rows):
        wrong = np.where(np.arange(10) == k, -1, matrix[k])
        mistaken = f"{wrong.argmax()} ({wrong.max()})" if wrong.max() > 0 else ""
        shares = [f"{100 * value:.2f} %" if np.isfinite(value) else "-" for value in (recall[k], precision[k])]
        assert row.split() == f"{k} {matrix[k].sum()} {shares[0]} {shares[1]} {mistaken}".split()
    lines = [line.split() for line in grid.splitlines()[2:12]]
    assert lines == [[str(k), *(str(n) if n else "." for n in matrix[k])] for k in range(10)]
    (axes,) = figures[0].axes
    assert np.allclose(axes.images[0].get_array(), matrix / matrix.sum(1, keepdims=True))
    drawn = {(text.get_position()[::-1], text.get_text()) for text in axes.texts}
    assert drawn == {((i, j), str(n)) for (i, j), n in np.ndenumerate(matrix) if n}
