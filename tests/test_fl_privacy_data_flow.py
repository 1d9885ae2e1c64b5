"""The data-flow table is what the wire sends: a field that it does not list cannot leave a client."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message, RecordDict
from reports import REPORT
from small_shards import BOTH, REAL, shard

from clients.app import train_reply
from clients.round import EdgeClient, StageError
from fl.data.shards import take
from fl.distill.batches import TeacherOutputs
from fl.errors import ReplyError
from fl.privacy import data_flow
from fl.privacy.data_flow import (
    FIELDS,
    MECHANISMS,
    Field,
    Treatment,
    data_flow_text,
    outgoing,
    sent_fields,
    told_reason,
)
from fl.settings import AugmentSettings, CompressSettings, DistillSettings, PrivacySettings
from fl.settings.limits import Limit
from fl.state import flatten, schema_digest
from fl.task import Enrolment, RoundTask
from fl.wire import client_record, enrolment_records, read_report, report_records, task_records
from models.architecture import Architecture
from sim.grids.messages import identify

PRIVATE = MECHANISMS[1:]


def names_of(content: RecordDict) -> set[str]:
    return {key for record in content.values() for key in record}


def test_the_table_knows_every_mechanism_of_the_settings() -> None:
    limit = PrivacySettings.__dataclass_fields__["mechanism"].metadata["limit"]
    assert isinstance(limit, Limit)
    assert limit.choices == MECHANISMS


def test_no_field_is_listed_twice() -> None:
    keys = [(field.message, field.name) for field in FIELDS]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_what_is_on_the_wire_is_what_the_table_says(mechanism: str) -> None:
    assert names_of(report_records(REPORT, mechanism)) == sent_fields("report", mechanism)
    assert names_of(enrolment_records(Enrolment(1, 2, "phone", ""))) == sent_fields("enrolment", mechanism)


@pytest.mark.parametrize("mechanism", PRIVATE)
def test_a_private_client_sends_nothing_that_is_neither_public_nor_noised(mechanism: str) -> None:
    index = MECHANISMS.index(mechanism)
    told = {(f.message, f.name): f.treatments[index] for f in FIELDS}
    clear = [key for key, treatment in told.items() if treatment is Treatment.CLEAR]
    assert clear == [("error", "stage")]
    got = read_report(report_records(REPORT, mechanism), mechanism)
    assert (got.losses, got.seconds, got.int8_agreement, got.importance.size) == ({}, None, None, 0)
    assert (got.num_examples, got.num_steps) == (12, 3)
    assert np.array_equal(got.state, REPORT.state)


def test_a_field_that_the_table_does_not_list_cannot_be_sent() -> None:
    with pytest.raises(KeyError, match="differ: loss_new"):
        report_records(replace(REPORT, losses={**REPORT.losses, "loss_new": 1.0}))
    with pytest.raises(KeyError, match="differ: b"):
        outgoing(
            "enrolment", {"client-id": 1, "num-examples": 1, "device": "", "teacher": "", "b": 1}, "none"
        )


def test_a_listed_field_that_nobody_fills_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    more = (*FIELDS, Field("report", "forgotten", "", (Treatment.CLEAR,) * 4))
    monkeypatch.setattr(data_flow, "FIELDS", more)
    with pytest.raises(KeyError, match="differ: forgotten"):
        report_records(REPORT)


@pytest.mark.parametrize("key", ["loss", "seconds", "importance"])
def test_the_server_refuses_what_should_have_stayed_at_the_client(key: str) -> None:
    with pytest.raises(ReplyError, match=r"must not be sent under privacy\.mechanism=dp_sgd"):
        read_report(report_records(REPORT), "dp_sgd")
    content = report_records(REPORT, "dp_sgd")
    leak = report_records(REPORT)
    record = "arrays" if key == "importance" else "metrics"
    content[record][key] = leak[record][key]
    with pytest.raises(ReplyError, match=f"'{key}' must not be sent"):
        read_report(content, "dp_sgd")


def test_a_reply_that_withholds_without_a_mechanism_is_refused() -> None:
    with pytest.raises(ReplyError, match="is missing"):
        read_report(report_records(REPORT, "dp_sgd"))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_table_in_words_has_a_line_for_each_field(mechanism: str) -> None:
    lines = data_flow_text(mechanism).splitlines()
    assert len(lines) == 2 + len(FIELDS) + (mechanism != "none")
    assert f"privacy.mechanism={mechanism}" in lines[0]


def test_a_private_client_tells_the_stage_of_a_failure_and_no_more() -> None:
    reason = "distil: DataError: anna_smith_007.mp4 has 3 frames"
    assert told_reason(reason, "none") == reason
    told = told_reason(reason, "local_gaussian")
    assert told.startswith("distil: failed")
    assert "anna" not in told
    assert told_reason(told, "local_gaussian") == told
    assert "anna" not in told_reason("anna_smith_007.mp4", "dp_sgd")


@pytest.mark.parametrize(("mechanism", "told"), [("none", True), ("dp_sgd", False)])
def test_a_client_app_withholds_the_reason(mechanism: str, told: bool) -> None:
    identify()
    view = take(shard([REAL, BOTH] * 2))
    architecture = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13, "group_norm": 1})
    network = architecture.build(1)
    client = EdgeClient(
        client_id=0,
        view=view,
        teacher=TeacherOutputs(np.zeros(1, np.float32), np.zeros((1, 2, 4), np.float32)),  # of another store
        augment=AugmentSettings(),
        distill=DistillSettings(batch_size=4, epochs=1),
        compress=CompressSettings(),
        seed=0,
        cache_dir=Path("nowhere"),
        privacy=PrivacySettings(mechanism=mechanism),
    )
    arrays, config = task_records(RoundTask(1, architecture, flatten(network), schema_digest(network), 1e-3))
    content = RecordDict({"arrays": arrays, "config": config, "client": client_record(1.0)})
    with pytest.raises(StageError, match=r"^distil: ") as failure:
        train_reply(Message(content, dst_node_id=2, message_type="train"), client, {})
    assert ("IndexError" in str(failure.value)) is told
