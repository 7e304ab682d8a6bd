"""Who may serve a client: by the roles that nodes say, and for those that say nothing by what others say of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock

from client.errors import NotMaster
from infra.contract import Endpoint

logger = logging.getLogger(__name__)

# Two of these pass at most until a demotion is noticed: one until it is asked, one until the answer has to be there.
CHECK_S = 1.0


class Guard:
    """One for each client. Thread-safe.

    With Sentinels it takes a master. A standalone address may be a read address, so what it leads to at first decides:
    after a master it takes no replica. `any_role` takes whatever there is.
    """

    def __init__(self, *, master_only: bool, any_role: bool, ask: Callable[[Endpoint], bool]) -> None:
        """`ask`: whether a silent node has been replaced."""
        self._master_only = master_only
        self._any_role = any_role
        self._ask = ask
        self._asking = Lock()
        self._asked: tuple[Endpoint | None, float, bool] = (None, 0.0, False)

    def accept(self, endpoint: Endpoint, role: str) -> None:
        """Raises NotMaster for a node that must not serve. `role` is '' when this user may not ask for it."""
        if not self.accepts(role):
            raise NotMaster(
                f"{endpoint} is not the master (it says {role}). Make pipelines, locks and scripts anew in each"
                " operation: they stay with their node; a gateway's read address needs Options(any_role=True)"
            )
        self._master_only = self._master_only or (role == "master" and not self._any_role)

    def accepts(self, role: str) -> bool:
        return role in ("master", "") or not self._master_only

    def is_replaced(self, endpoint: Endpoint) -> bool:
        """Whether a node that says nothing has been replaced. Asked once a second, however many connections wait."""
        last, until, replaced = self._asked
        if last == endpoint and time.monotonic() < until:
            return replaced
        if not self._asking.acquire(blocking=False):
            return False  # somebody is asking; the next look tells
        try:
            replaced = self._ask(endpoint)
            self._asked = (endpoint, time.monotonic() + CHECK_S, replaced)
        finally:
            self._asking.release()
        return replaced
