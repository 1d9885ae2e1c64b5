"""The parser of a command's own arguments."""

import argparse
from typing import NoReturn

from fl.errors import RequestError


class Parser(argparse.ArgumentParser):
    """argparse, except that a wrong request is a `RequestError`: one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Refuse the request, with the command's usage as the remedy."""
        usage = " ".join(self.format_usage().split())
        raise RequestError(f"{message}; {usage}")
