"""Settings of an attack on the run itself: clients that harm on purpose."""

from dataclasses import dataclass

from fl.settings.limits import NOT_NEGATIVE, POSITIVE, SHARE, Limit, setting

KINDS = (
    "none",
    "label_flip",
    "backdoor",
    "sign_flip",
    "scaling",
    "not_a_number",
    "free_rider",
    "poisoned_votes",
    "poisoned_calibration",
)
"""What malicious clients can do: see `clients.adversary`."""


@dataclass(frozen=True)
class AdversarySettings:
    """Malicious clients: how many, and what they do. The server's defences never see who they are."""

    kind: str = setting("none", Limit(choices=KINDS), doc="what malicious clients do; none: all are honest")
    share: float = setting(0.25, SHARE, doc="share of all clients that are malicious, rounded to whole ones")
    scale: float = setting(
        1.0,
        POSITIVE,
        doc="their update times this: of scaling, of sign_flip (turned round), and of backdoor (boosted)",
    )
    noise: float = setting(
        0.0, NOT_NEGATIVE, doc="free_rider: deviation of the noise it adds to what it got; 0: sends that back"
    )
    target: str = setting(
        "real", Limit(choices=("real", "fake")), doc="backdoor: what clips with the trigger are to be called"
    )
    poisoned_share: float = setting(
        0.5, SHARE, doc="backdoor: share of a malicious client's clips that carry the trigger in training"
    )
    trigger_size: float = setting(
        0.15, SHARE, doc="backdoor: side of the patch in the pictures, as a share of their side; 0: no patch"
    )
    trigger_s: float = setting(
        0.2, NOT_NEGATIVE, doc="backdoor: length of the tone at the start of the sound, s; 0: no tone"
    )
