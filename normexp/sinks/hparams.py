"""Hyperparameters and results as TensorBoard's HPARAMS page reads them: three summaries in the run's own event file.

The page takes its columns from the first run that it finds, so that every run declares all of them, with the same types.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

from normexp.records import Hyperparameter

HEADLINES = {"activation", "batch_size", "lr", "model", "norm"}
"""The page shows five columns until it is asked for more, and takes those first that are said to differ between runs."""

TYPES = {bool: api_pb2.DATA_TYPE_BOOL, float: api_pb2.DATA_TYPE_FLOAT64, str: api_pb2.DATA_TYPE_STRING}


def experiment(hyperparameters: Mapping[str, Hyperparameter], metrics: Sequence[str]) -> Summary:
    """All columns: hyperparameters with their types, and the tags of the metrics."""
    infos = [
        api_pb2.HParamInfo(name=name, type=TYPES[each.kind], differs=name in HEADLINES)
        for name, each in hyperparameters.items()
    ]
    shown = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
    data = HParamsPluginData(experiment=api_pb2.Experiment(hparam_infos=infos, metric_infos=shown))
    return _summary(metadata.EXPERIMENT_TAG, data)


def start(hyperparameters: Mapping[str, Hyperparameter]) -> Summary:
    """This run's values; those that don't apply, or are null, stay blank."""
    info = SessionStartInfo(start_time_secs=time.time())
    for name, each in hyperparameters.items():
        match each.value:
            case None:
                pass
            case bool():
                info.hparams[name].bool_value = each.value
            case float():
                info.hparams[name].number_value = each.value
            case str():
                info.hparams[name].string_value = each.value
    return _summary(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info))


def end(*, success: bool) -> Summary:
    """How the run ended."""
    status = api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE
    info = SessionEndInfo(status=status, end_time_secs=time.time())
    return _summary(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))


def _summary(tag: str, data: HParamsPluginData) -> Summary:
    data.version = metadata.PLUGIN_DATA_VERSION
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString())
    return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))])
