"""Let Hydra print the config (`--cfg`), how it was composed (`--info`) or its own help (`--hydra-help`)."""

from __future__ import annotations

from normexp.compose.compose import hydra_app
from normexp.compose.errors import config_errors
from normexp.compose.overrides import Arguments


def print_with_hydra(arguments: Arguments, overrides: list[str]) -> None:
    """Print what the flags ask for. Raises ConfigError if the config can't be composed."""
    from hydra._internal.utils import get_args_parser
    from hydra.types import RunMode

    parser = get_args_parser()
    args = parser.parse_args([*arguments.flags, *overrides])
    app = hydra_app(arguments.config_dir)
    with config_errors():
        if args.hydra_help:
            app.hydra_help(config_name="train", args_parser=parser, args=args)
        elif args.cfg:
            app.show_cfg("train", overrides, args.cfg, args.package, args.resolve)
        else:
            app.compose_config("train", overrides, RunMode.RUN)  # a check: not all of Hydra's info composes the config
            app.show_info(args.info, config_name="train", overrides=overrides)
