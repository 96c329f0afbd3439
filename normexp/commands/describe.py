"""`normexp describe`: print the network as a table, without training it."""

from rich.console import Console
from rich.table import Table

from normexp.compose.argv import parse_argv
from normexp.compose.compose import compose_tree
from normexp.compose.overrides import parse_overrides, validate_overrides
from normexp.compose.validate import validate
from normexp.config import Config, ConfigError, show, yaml_files
from normexp.console import print_message
from normexp.data import class_names
from normexp.models import layers
from normexp.models.activations import find_activation
from normexp.models.describe import COLUMNS, cells, describe, norm_details, warnings, weight_decay
from normexp.models.vit import ViT
from normexp.norms import NORMS, Site
from normexp.weights import WEIGHTS

HELP = """\
usage: normexp describe [key=value ...]
  print the network that `normexp train` would train with the same overrides:
  parts, output shape and parameters of each layer, and the axes that its norm
  averages over"""


def main(argv: list[str]) -> int:
    """Print the table. Raises ConfigError for a config that can't be trained."""
    arguments = parse_argv(argv)
    if arguments.flags:
        raise ConfigError(f"describe accepts only overrides such as norm=ln, not the flag {arguments.flags[0]}.")
    overrides = validate_overrides(arguments.overrides, sweeps=True)
    for override in parse_overrides(overrides):
        if override.is_sweep_override():
            raise ConfigError(f"{show(override.input_line)}: describe shows one network at a time.")
    tree = compose_tree(overrides)
    config = validate(tree)
    rows, console = describe(config), Console(highlight=False)
    title = f"{config.model.name} on {config.data.name}, {NORMS[config.norm.name].title}"
    if config.norm.name != "none":
        positions = {"pre": "before the activation", "post": "after the activation", "input": "before the weight"}
        block = f"with model.block={config.model.block}" if isinstance(config.model, ViT) else None
        title += f" {block or positions[config.norm.position]}" + "".join(
            f", {detail}" for detail in norm_details(config.norm)
        )
    if config.weight.name != "none":
        title += f", {WEIGHTS[config.weight.name].title}"
    parts = f" in {config.accumulate} micro-batches" if config.accumulate > 1 else ""
    console.print(f"[bold]{title}[/], batch {config.batch_size}{parts}\n", soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column, name in enumerate(COLUMNS):
        table.add_column(name, no_wrap=column in (0, 2), justify="right" if column == 3 else "left")
    for row in rows:
        table.add_row(*cells(row))
    console.print(table)
    weights, norms = sum(row.parameters for row in rows), sum(row.norm_parameters for row in rows)
    learned = find_activation(config.activation).parameters(Site("", (1,)))
    where = "norms and activations" if learned else "norms"
    console.print(f"\n{weights + norms:,} parameters, {norms:,} of them in {where}")
    if data := class_names(config):
        console.print(data, markup=False, soft_wrap=True)
    for line in filter(None, (_trained(config), weight_decay(config))):
        console.print(line)
    for note in warnings(config, yaml_files.differences(tree)):
        print_message(console, f"note: {note}")
    return 0


def _trained(config: Config) -> str:
    """The trained parameters, in one line; empty if all are."""
    if config.trainable == "all":
        return ""
    sites = filter(None, (plan.site("norm") for plan in layers(config)))
    number = sum(NORMS[config.norm.name].parameters(config.norm, site) for site in sites)
    which = {
        "norm": f"the {number:,} parameters of the norms",
        "random": f"{number:,} weights at random, as many as the norms have parameters",
    }
    return f"trained: {which[config.trainable]} (trainable={config.trainable})"
