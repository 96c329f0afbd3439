"""Everything about a run directory: its layout, its status, and how its files are read and written."""

from normexp.rundir.formats import finite, json_line, read_metrics, to_json, to_yaml
from normexp.rundir.layout import check_name, clear, create, default_name, fill, make, numerics, refill, slug
from normexp.rundir.status import (
    State,
    now,
    read_status,
    replace_status,
    rewrite_status,
    status_text,
    write_first_status,
    write_status,
)

__all__ = [
    "State",
    "check_name",
    "clear",
    "create",
    "default_name",
    "fill",
    "finite",
    "json_line",
    "make",
    "now",
    "numerics",
    "read_metrics",
    "read_status",
    "refill",
    "replace_status",
    "rewrite_status",
    "slug",
    "status_text",
    "to_json",
    "to_yaml",
    "write_first_status",
    "write_status",
]
