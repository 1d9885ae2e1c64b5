"""The errors a user may meet. Each message names the key or file, the limit, the value, the remedy.

FedpinError
├── RequestError      the request was wrong (exit code 2)
├── DataError         the corpus cannot be used
│   └── ClipError     one clip cannot be used; it is skipped and counted
├── TeacherError      the teacher is not good enough to learn from
├── ReplyError        one client's reply is refused by the gate
└── RunError          the run cannot go on
    └── FailedRoundError  a round has too few valid replies
"""


class FedpinError(Exception):
    """Any failure with a cause that the user can understand and mend."""

    exit_code = 1


class RequestError(FedpinError):
    """The request itself was wrong: an unknown key, a value out of range, a missing folder."""

    exit_code = 2


class DataError(FedpinError):
    """The corpus as a whole cannot be used."""


class ClipError(DataError):
    """One clip cannot be used; the message is the reason, without the file's name."""


class TeacherError(FedpinError):
    """The teacher does not pass its gate."""


class ReplyError(FedpinError):
    """A client's reply does not pass the gate."""


class RunError(FedpinError):
    """The run cannot go on, e.g. a round without a valid reply."""


class FailedRoundError(RunError):
    """A round has fewer valid replies than ``strategy.min_replies``."""
