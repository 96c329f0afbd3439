"""Typed config of a run: schema, reader and error messages. Imports nothing heavy."""

from normexp.config.messages import (
    ConfigError,
    ForbiddenKeyError,
    InvalidValueError,
    join_names,
    printable,
    show,
    suggest,
    unknown_choice,
    unknown_key,
)
from normexp.config.reader import expand_path, flatten, read
from normexp.config.schema import (
    GROUPS,
    OVERLAYS,
    RESULT_INDEPENDENT_KEYS,
    Config,
    DataConfig,
    InitConfig,
    ModelConfig,
    NormConfig,
    Objective,
    OptimConfig,
    ProbeConfig,
    ScheduleConfig,
    number,
)
