"""Event files as TensorBoard itself reads them."""

from pathlib import Path


def read_events(folder: Path) -> tuple[dict[str, dict[int, float]], dict[str, bytes]]:
    """Scalars by name and step, and what the table of runs ("hparams") holds, still packed."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    names = events.Tags()["scalars"]
    scalars = {name: {event.step: event.value for event in events.Scalars(name)} for name in names}
    return scalars, events.PluginTagToContent("hparams")


def packed_settings(hparams: dict[str, bytes]) -> dict[str, object]:
    """The settings in the table of runs; whole numbers come back as fractions."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    start = HParamsPluginData.FromString(hparams["_hparams_/session_start_info"]).session_start_info
    return {key: getattr(value, value.WhichOneof("kind")) for key, value in start.hparams.items()}
