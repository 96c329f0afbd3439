"""Typed config of a run: schema, reader and error messages. Imports nothing heavy."""

from normexp.config.messages import (
    SYNONYMS,
    ConfigError,
    ForbiddenKeyError,
    InvalidValueError,
    join_names,
    nearest,
    printable,
    show,
    suggest,
    suggest_folder,
    unknown_choice,
    unknown_key,
)
from normexp.config.reader import as_tree, describe_values, expand_path, flatten, name_own_choices, own_names, read
from normexp.config.schema import (
    GROUPS,
    LENGTH_KEYS,
    OVERLAYS,
    RESULT_INDEPENDENT_KEYS,
    TRACKERS,
    Config,
    DataConfig,
    InitConfig,
    ModelConfig,
    NormConfig,
    Objective,
    OptimConfig,
    ProbeConfig,
    ScheduleConfig,
    WeightConfig,
    number,
)
