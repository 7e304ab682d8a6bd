"""How a Client waits, retries and falls back. The defaults are the ones measured in docs/architecture.md."""

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

    Time-outs are short on purpose: a node that is gone must cost less than Sentinel needs to replace it. An application
    that uses blocking commands (BLPOP, XREAD BLOCK) needs a `timeout_s` above its longest block.
    """

    timeout_s: float = 1.0
    connect_timeout_s: float = 0.5
    probe_timeout_s: float = 0.5
    probe_connect_timeout_s: float = 0.3
    # How long discovery waits for the last Sentinels once a majority has answered.
    straggler_s: float = 0.15
    decode_responses: bool = True
    retry: RetryOptions = field(default_factory=RetryOptions)
    fallback: FallbackOptions | None = None
