"""A client's report as it is sent, for tests of the wire."""

import numpy as np

from fl.task import LOSS_KEYS, ClientReport

REPORT = ClientReport(
    client_id=7,
    num_examples=12,
    num_steps=3,
    state=np.arange(6, dtype=np.float32),
    schema="s",
    losses={key: 0.1 * i for i, key in enumerate(LOSS_KEYS)},
    seconds=0.5,
    importance=np.ones(4, np.float32),
    int8_agreement=0.75,
)
