"""Names of other libraries' metrics in reports."""

from collections.abc import Mapping

TAGS = {
    "loss": "train/loss",
    **dict.fromkeys(("val_loss", "eval_loss"), "val/loss"),
    **dict.fromkeys(("val_acc", "val_accuracy", "eval_accuracy"), "val/accuracy"),
}


def report_tags(metrics: Mapping[str, object]) -> dict[str, float]:
    """The metrics that are numbers, under the names that reports know: val/loss for val_loss and eval_loss."""
    numbers: dict[str, float] = {}
    for name, value in metrics.items():
        try:
            numbers[TAGS.get(name, name)] = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, RuntimeError):  # such as a string, or a tensor of several values
            continue
    return numbers
