"""One run of a model at a time, whatever the thread: its hooks and traces are on the model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch

from steer_plugin.errors import InterventionError

_LOCKS: WeakKeyDictionary[torch.nn.Module, threading.RLock] = WeakKeyDictionary()
_ASKING = threading.Lock()
# The threads that are in a block in which a model is steered, once for each block.
_STEERED: WeakKeyDictionary[torch.nn.Module, list[int]] = WeakKeyDictionary()


@contextmanager
def alone(module: torch.nn.Module) -> Iterator[None]:
    """Wait until no other thread runs a model, and let none while the block lasts.

    Args:
        module: the model, which adapters may share.

    Raises:
        InterventionError: another thread is in a block in which the model is steered.
    """
    with _ASKING:
        lock = _LOCKS.setdefault(module, threading.RLock())
    with lock:
        with _ASKING:
            steered_elsewhere = _threads_beside(module)
        if steered_elsewhere:
            raise InterventionError(
                "another thread is in a `with steered` block of this model, which would steer this "
                "pass as well; leave the block first, or give its plan to the verbs of "
                "adapt(model) as intervention=, which take turns"
            )
        yield


@contextmanager
def in_one_thread(module: torch.nn.Module, name: str) -> Iterator[None]:
    """Refuse a block in which a model is steered beside one of another thread.

    What other threads run of the model by then is waited for.

    Args:
        module: the model, whose hooks act whoever calls it.
        name: of the model.

    Raises:
        InterventionError: another thread is in such a block.
    """
    with _ASKING:
        lock = _LOCKS.setdefault(module, threading.RLock())
    with lock, _ASKING:
        if _threads_beside(module):
            raise InterventionError(
                f"another thread is in a `with steered` block of {name}, and each would steer the "
                "other's passes; use the blocks one after another, or the verbs of adapt(model) "
                "with intervention=, which take turns"
            )
        threads = _STEERED.setdefault(module, [])
        threads.append(threading.get_ident())
    try:
        yield
    finally:
        with _ASKING:
            threads.remove(threading.get_ident())


def _threads_beside(module: torch.nn.Module) -> list[int]:
    here = threading.get_ident()
    return [thread for thread in _STEERED.get(module, []) if thread != here]
