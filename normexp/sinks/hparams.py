"""Summaries for TensorBoard's HPARAMS page: the columns, the start and the end of a run, written to its event file.

The page takes its columns from the first run that it reads, so every run declares all columns, with the same types.
tensorboard.plugins.hparams.summary builds the same summaries, but imports tensorflow.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

from normexp.records import Hyperparameter

HEADLINES = {"activation", "batch_size", "lr", "model", "norm"}
"""The page shows five columns by default, first those that are declared to differ between runs."""

TYPES = {bool: api_pb2.DATA_TYPE_BOOL, float: api_pb2.DATA_TYPE_FLOAT64, str: api_pb2.DATA_TYPE_STRING}


def experiment(hyperparameters: Mapping[str, Hyperparameter], metrics: Sequence[str]) -> Summary:
    """Declare the columns: hyperparameters with their types, and the tags of the metrics."""
    hparam_infos = [
        api_pb2.HParamInfo(name=name, type=TYPES[hyperparameter.kind], differs=name in HEADLINES)
        for name, hyperparameter in hyperparameters.items()
    ]
    metric_infos = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
    data = HParamsPluginData(experiment=api_pb2.Experiment(hparam_infos=hparam_infos, metric_infos=metric_infos))
    return _summary(metadata.EXPERIMENT_TAG, data)


def start(hyperparameters: Mapping[str, Hyperparameter]) -> Summary:
    """This run's values. None leaves the cell blank."""
    info = SessionStartInfo(start_time_secs=time.time())
    for name, hyperparameter in hyperparameters.items():
        match hyperparameter.value:
            case bool(value):
                info.hparams[name].bool_value = value
            case float(value):
                info.hparams[name].number_value = value
            case str(value):
                info.hparams[name].string_value = value
    return _summary(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info))


def end(*, success: bool) -> Summary:
    """The status of a finished run."""
    status = api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE
    info = SessionEndInfo(status=status, end_time_secs=time.time())
    return _summary(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))


def _summary(tag: str, data: HParamsPluginData) -> Summary:
    data.version = metadata.PLUGIN_DATA_VERSION
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString())
    return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))])
