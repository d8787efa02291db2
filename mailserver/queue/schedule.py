"""When to try again, when to warn, when to give up (RFC 5321, 4.5.4.1). Pure."""

from __future__ import annotations

from mailserver.config.schema import Relay

PROBE = 3600.0  # seconds after which a host that cannot be reached is tried again at the latest
JITTER = 0.1  # part of a delay by which retries spread, so that they do not stay in step


def retry_delay(relay: Relay, attempts: int, chance: float) -> float:
    """Seconds until the next try after `attempts` tries; `chance` is a random number in [0, 1)."""
    table = relay.retry
    delay = table[min(max(attempts, 1), len(table)) - 1]
    return delay * (1 - JITTER / 2 + JITTER * chance)


def probe_delay(relay: Relay, failures: int, chance: float) -> float:
    """Seconds until a destination is tried again that could not be reached `failures` times in a row. The
    schedule is that of one message, so that a message alone is tried by its own; but mail that comes in
    meanwhile does not wait for hours for its first try."""
    return min(retry_delay(relay, failures, chance), PROBE * (1 - JITTER / 2 + JITTER * chance))


def longest_delay(relay: Relay) -> float:
    """No recipient waits longer than this for its next try, whatever the clock did meanwhile."""
    return max(relay.retry) * (1 + JITTER)


def is_expired(relay: Relay, waits_since: float, now: float) -> bool:
    return now - waits_since >= relay.expire_after


def sweep_interval(relay: Relay) -> float:
    """How often the queue is searched for what is to be warned about or given up."""
    shortest = min([relay.expire_after] + ([relay.warn_after] if relay.warn_after > 0 else []))
    return min(60.0, max(1.0, shortest / 4))
