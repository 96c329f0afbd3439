"""Run directories: layout, status, and access to their files."""

from normexp.rundir.formats import finite, json_line, to_json, to_yaml
from normexp.rundir.layout import (
    check_name,
    create_run_directory,
    create_sweep_directory,
    default_name,
    remove_outputs,
    slug,
    write_resumed_files,
    write_run_files,
)
from normexp.rundir.reader import numerics, read_config, read_metrics, read_status
from normexp.rundir.status import State, now, rewrite_status, write_status
