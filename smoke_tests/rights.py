"""PURE  What each user must be refused, and what it must be able to do, on data nodes and on Sentinels.

Every forbidden command is harmless should it be allowed after all, since that is what we look for on live systems: it
reads, or names a thing that does not exist, or has an argument that the server refuses after it has checked the rights.
(Before the rights a server checks the number of arguments and whether it knows the command, so both must be right.)
"""

from __future__ import annotations

from collections.abc import Mapping

HELLO = "__sentinel__:hello"
NOBODY = "smoke-tests-nobody"

_STOP = "SHUTDOWN ABORT"
_WIPE = "FLUSHALL smoke"
_DEMOTE = "REPLICAOF NO PORT"
_NEW_USER = f"ACL SETUSER {NOBODY} no-such-rule"
_SET_CONFIG = "CONFIG SET no-such-parameter 1"
_KILL = "CLIENT KILL TYPE no-such-type"
_READ = f"GET {NOBODY}"
_WRITE = f"SET {NOBODY} 1 EX 0"
_RUN = "EVAL return 0"

Commands = Mapping[str, tuple[str, ...]]

FORBIDDEN_ON_DATA: Commands = {
    "app": ("CONFIG GET maxmemory", _SET_CONFIG, "ACL LIST", _NEW_USER, _WIPE, _DEMOTE, _STOP, _KILL, "BGREWRITEAOF"),
    "replica": (_READ, _WRITE, "INFO", "CONFIG GET maxmemory", "ACL LIST", _WIPE, _DEMOTE, _STOP),
    "sentinel": (_READ, _WRITE, "CONFIG GET maxmemory", _SET_CONFIG, "ACL LIST", _WIPE, _STOP),
    "monitor": (_READ, _WRITE, "CONFIG GET maxmemory", _SET_CONFIG, "ACL LIST", _WIPE, _DEMOTE, _STOP, _KILL),
    "operator": (_READ, _WRITE, _NEW_USER, _WIPE, _STOP, "KEYS smoke-tests-nobody"),
}

_RECONFIGURE = f"SENTINEL SET {NOBODY} quorum 1"
_FAIL_OVER = f"SENTINEL FAILOVER {NOBODY}"
_FORGET = f"SENTINEL REMOVE {NOBODY}"
_ADOPT = f"SENTINEL MONITOR {NOBODY} 127.0.0.1 1 0"
_RESET = f"SENTINEL RESET {NOBODY}"
_TAKE_OVER = (_RECONFIGURE, _FAIL_OVER, _FORGET, _ADOPT, _RESET, "SENTINEL CONFIG GET sentinel-user")

# `replica` has no account on Sentinels: its own password must be refused there.
FORBIDDEN_ON_SENTINELS: Commands = {
    "app": (*_TAKE_OVER, _NEW_USER, _STOP, "INFO"),
    "replica": ("PING", _FAIL_OVER),
    "sentinel": (*_TAKE_OVER, _NEW_USER, _STOP, "INFO"),
    "monitor": (*_TAKE_OVER, _NEW_USER, _STOP),
    "operator": (_NEW_USER, _STOP),
}

# Sentinels believe every hello, so whoever may send one, or read the addresses in it, is as good as an operator.
FORBIDDEN_HELLO = (f"PUBLISH {HELLO} smoke", f"SUBSCRIBE {HELLO}")

ANONYMOUS_ON_DATA = ("PING", "INFO", _READ, "ACL WHOAMI")
ANONYMOUS_ON_SENTINELS = ("PING", "INFO", "SENTINEL MASTERS", _FAIL_OVER)

NEEDED_ON_DATA: Commands = {
    "app": (_READ, "ROLE", "PUBLISH smoke-tests-channel 1"),
    "replica": ("PING", "REPLCONF capa eof"),
    "sentinel": ("PING", "ROLE", "INFO", f"SUBSCRIBE {HELLO}"),
    "monitor": ("INFO", "ROLE", "SLOWLOG LEN"),
    "operator": ("CONFIG GET maxmemory", "CLIENT LIST", "ACL LIST"),
}
# {name} is the master's name.
NEEDED_ON_SENTINELS: Commands = {
    "app": ("SENTINEL GET-MASTER-ADDR-BY-NAME {name}", "SENTINEL MASTERS", "SENTINEL REPLICAS {name}"),
    "sentinel": ("PING", "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 0 *"),
    "monitor": ("SENTINEL CKQUORUM {name}", "SENTINEL MASTER {name}", "INFO"),
    "operator": ("SENTINEL MASTER {name}", "ACL LIST"),
}
