"""How a Client waits, retries and falls back."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RetryOptions:
    """When a failed operation is tried again. All in seconds."""

    deadline_s: float = 30.0
    first_delay_s: float = 0.02
    longest_delay_s: float = 0.25


@dataclass(frozen=True)
class FallbackOptions:
    """The in-memory copy that answers get/set/delete while Redis is away."""

    max_entries: int = 10_000
    max_ttl_s: float = 300.0
    # How long a get/set/delete tries Redis before it turns to memory, and how long memory then answers alone.
    patience_s: float = 0.5
    pause_s: float = 1.0


@dataclass(frozen=True)
class Options:
    """Everything about a Client that is not in the contract. Time-outs in seconds.

    Time-outs are short on purpose: a node that is gone must cost less than Sentinel needs to replace it. An operation
    that keeps the server busy for longer than `timeout_s` (a slow script, a value of many megabytes) fails with NoReply
    and needs a client with a longer one. Blocking commands (BLPOP, XREAD BLOCK, WAIT) have their own time besides.
    """

    timeout_s: float = 1.0
    connect_timeout_s: float = 0.5
    probe_timeout_s: float = 0.5
    probe_connect_timeout_s: float = 0.3
    # How long discovery waits for the last Sentinels once a majority has answered.
    straggler_s: float = 0.15
    decode_responses: bool = True
    # The database's number instead of the contract's (REDIS_DB).
    db: int | None = None
    # Standalone mode: replicas may serve too, as behind a gateway's read address. Without it, an address that has led
    # to a master once must go on leading to one.
    any_role: bool = False
    retry: RetryOptions = field(default_factory=RetryOptions)
    fallback: FallbackOptions | None = None
