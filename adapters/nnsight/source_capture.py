"""nnsight reads the source of a trace with Python's parser, which threads must enter one by one."""

import functools
import threading
from collections.abc import Callable
from typing import Any

from nnsight.intervention.backends.remote import RemoteBackend
from nnsight.tracing.tracer import Tracer

# Re-entrant: pickling a request may open a trace.
_PARSING = threading.RLock()


def parse_one_at_a_time() -> None:
    """Let one thread at a time parse in nnsight, in this package's traces and in its user's.

    Up to 3.11.7, CPython counts the depth of all trees that are being built in one number; threads
    that parse at once end, now and then, in "SystemError: AST constructor recursion depth mismatch"
    (github.com/python/cpython/issues/106905). nnsight parses where a `with` is entered for the
    first time and where a request is pickled; neither runs the model or waits for a server.

    Goes when Python 3.11 is no longer supported.
    """
    for owner, name in ((Tracer, "parse"), (RemoteBackend, "_serialize")):
        setattr(owner, name, _locked(getattr(owner, name)))


def _locked(parse: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(parse)
    def parse_alone(*args: Any, **kwargs: Any) -> Any:
        with _PARSING:
            return parse(*args, **kwargs)

    return parse_alone
