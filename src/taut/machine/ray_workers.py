"""Pieces of work as tasks of a Ray cluster.

Ray does a piece again whose worker or machine died, so a death costs that piece. What a piece
raises comes back as it was raised.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar, TypeVarTuple

from taut.errors import ArgumentError, TautError
from taut.extras import need_extra
from taut.machine.closing import Closing
from taut.version import __version__

A = TypeVarTuple("A")
R = TypeVar("R")

_AGAIN: Final = 5  # times that a piece is begun again after its worker died
_PATIENCE: Final = 10.0  # seconds until a machine answers
LOCAL: Final = "local"


class RayWorkers(Closing):
    """The processors of a Ray cluster: `auto` (here), `local` (made for this run), `HOST:PORT`.

    A context manager: leaving it ends what is still at work, and the connection, unless the caller
    had one before.

    Raises:
        ArgumentError: Ray is not installed, no cluster answers, or another version of Taut works
            there.
        TautError: a piece failed in a way that is not its own, as of a lack of memory.
    """

    elsewhere = True

    def __init__(self, address: str) -> None:
        self._ray: Any = need_extra("ray", "ray", "--ray takes")
        self._address = address
        self._own = False
        self._asked: set[Any] = set()
        self._lock = threading.Lock()
        self.width = 1

    def __enter__(self) -> RayWorkers:
        """Connect."""
        if not self._ray.is_initialized():
            _check_answers(self._address)
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning
            where = {} if self._address == LOCAL else {"address": self._address}
            try:
                self._ray.init(
                    **where, log_to_driver=False, logging_level="ERROR", configure_logging=False
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise ArgumentError(
                    f"ray (--ray) {self._address}: no cluster answers ({lines[0][:300]}); "
                    "start one with `ray start --head`, or give `local`"
                ) from None
            self._own = True
        try:
            self._task = self._ray.remote(max_retries=_AGAIN, num_cpus=1)(_call)
            self.width = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
            self._check_version()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End what is still at work, and the connection."""
        for ref in list(self._asked):
            self._ray.cancel(ref, force=True)
        if self._own:
            self._ray.shutdown()

    def run(self, function: Callable[[*A], R], *arguments: *A) -> R:
        """What a piece gives, wherever it is done."""
        found: R = self._result(self._task.remote(function, arguments))
        return found

    def _result(self, ref: Any) -> Any:
        with self._lock:
            self._asked.add(ref)
        try:
            return self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, TautError):
                raise error.cause from None
            raise TautError(f"a piece failed on a worker: {error.cause!r}") from error
        except self._ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise TautError(f"a piece was lost {_AGAIN + 1} times: {lines[0][:300]}") from error
        finally:
            with self._lock:
                self._asked.discard(ref)

    def _check_version(self) -> None:
        try:
            there = self._result(self._task.remote(_version, ()))
        except TautError as error:
            raise ArgumentError(
                f"ray (--ray) {self._address}: its workers cannot run Taut ({error}); "
                "install it on every machine"
            ) from None
        if there != __version__:
            raise ArgumentError(
                f"ray (--ray) {self._address}: has Taut {there}, and here is {__version__}; "
                "install the same version everywhere"
            )


def _check_answers(address: str) -> None:
    """Refuse `HOST:PORT` where nobody listens, for which Ray waits for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise ArgumentError(
            f"ray (--ray) {address}: no cluster answers ({error}); start one with `ray start "
            "--head`, or give `local`"
        ) from None


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(*arguments)


def _version() -> str:
    return __version__
