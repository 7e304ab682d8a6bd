-- Decides, inside HAProxy, which data node the write address leads to, and which ones the read address.
--
-- Loaded by the configuration that infra/gateway.py renders, which sets GATEWAY_ variables: PASSWORD_FILE, MASTER_NAME,
-- MAJORITY (Sentinels that make one), FRESH_MS (how long an answer counts), LAG_MS (how long a replica counts as in sync
-- after it was last seen so), DATA and SENTINELS: the nodes, each NAME,HOST:PORT,LINK. LINK is where this program
-- connects; it differs from the node's address where HAProxy adds TLS on the way.
--
-- Every server starts disabled, and only a proof enables it: whatever fails in here, the address leads nowhere rather
-- than to the wrong node.

local POLL_MS = 50
local SILENCE_S = 0.5
-- Bounds for one reply, far above what a server sends: a peer that goes beyond one has given no answer.
local REPLY_MS = 1000
local LONGEST_LINE, LONGEST_STRING, MOST_PARTS = 512, 512, 4000
local PIECE = 64 -- read at once; the time is looked at in between
-- How long one Sentinel and one node may hold the writes back against the others, and how often: see `hold_back`.
local DOUBT_MS, REST = 3000, 20
-- A task that asks a peer shows a sign of life more often, whatever the peer does: see `replace_if_stuck`.
local STUCK_MS = 3000

local function option(name)
    local value = os.getenv("GATEWAY_" .. name)
    assert(value, "GATEWAY_" .. name .. " is not set")
    return value
end

local function first_line(path)
    local file = assert(io.open(path, "r"))
    local line = file:read("l")
    file:close()
    return line
end

local function peers(kind, list)
    local found = {}
    for name, address, link in list:gmatch("([^%s,]+),([^%s,]+),([^%s,]+)") do
        table.insert(found, { kind = kind, name = name, address = address, link = link, in_sync_ms = -math.huge, watch = 0 })
    end
    return found
end

local PASSWORD = first_line(option("PASSWORD_FILE"))
local MASTER_NAME = option("MASTER_NAME")
local MAJORITY = tonumber(option("MAJORITY"))
local FRESH_MS = tonumber(option("FRESH_MS"))
local LAG_MS = tonumber(option("LAG_MS"))
local data = peers("data", option("DATA"))
local sentinels = peers("sentinel", os.getenv("GATEWAY_SENTINELS") or "") -- unset in standalone mode

local function now_ms()
    local now = core.now()
    return now.sec * 1000 + now.usec / 1000
end

-- ---------------------------------------------------------------------------------------------------- the protocol

-- Nothing here waits for the end of what a peer sends: it may have none. Whatever is wrong with a reply is an error, and
-- an error is no answer of this peer, which concerns nobody else.
local function read_bytes(reply, count)
    local pieces = {}
    while count > 0 do
        assert(now_ms() <= reply.until_ms, "the reply does not end in time")
        local piece = math.min(count, PIECE)
        table.insert(pieces, (assert(reply.socket:receive(piece))))
        count = count - piece
    end
    return table.concat(pieces)
end

local function read_line(reply)
    local line = read_bytes(reply, 4) -- none is shorter
    while line:sub(-2) ~= "\r\n" do
        assert(#line < LONGEST_LINE, "a line without an end")
        line = line .. read_bytes(reply, 1)
    end
    return line:sub(1, -3)
end

local function length_in(text, most)
    local length = text:match("^%d%d?%d?%d?%d?$")
    assert(length and tonumber(length) <= most, "a length that no reply has")
    return tonumber(length)
end

local function read_part(reply)
    reply.parts = reply.parts + 1
    assert(reply.parts <= MOST_PARTS, "a reply of too many parts")
    local line = read_line(reply)
    local kind, rest = line:sub(1, 1), line:sub(2)
    if kind == "-" then
        error("refused: " .. (rest:match("^%u+") or "?"), 0) -- its first word: the rest is the peer's to choose
    elseif rest == "-1" and (kind == "$" or kind == "*") then
        return nil
    elseif kind == "$" then
        return read_bytes(reply, length_in(rest, LONGEST_STRING) + 2):sub(1, -3)
    elseif kind == "*" then
        local parts = {}
        for _ = 1, length_in(rest, MOST_PARTS) do
            table.insert(parts, read_part(reply) or "")
        end
        return parts
    elseif kind == "+" or kind == ":" then
        return rest
    end
    error("not a server's reply", 0)
end

local function ask(socket, ...)
    local words = { ... }
    local request = { "*" .. #words }
    for _, word in ipairs(words) do
        table.insert(request, "$" .. #word)
        table.insert(request, word)
    end
    assert(socket:send(table.concat(request, "\r\n") .. "\r\n"))
    return read_part({ socket = socket, until_ms = now_ms() + REPLY_MS, parts = 0 })
end

local function text(value)
    assert(type(value) == "string", "not the answer to this question")
    return value
end

local function list(value)
    assert(type(value) == "table", "not the answer to this question")
    return value
end

local function address(host, port)
    assert(text(port):match("^%d+$") and text(host) ~= "", "not an address")
    return host .. ":" .. port
end

local function epoch(value)
    local digits = text(value):match("^%d+$")
    assert(digits and #digits <= 15, "not an epoch")
    return tonumber(digits)
end

local function fields(pairs_in_a_row)
    local named = {}
    for index = 1, #pairs_in_a_row, 2 do
        named[pairs_in_a_row[index]] = pairs_in_a_row[index + 1]
    end
    return named
end

-- ------------------------------------------------------------------------------------------------------- the answers

local function has_flag(flags, flag)
    return ("," .. flags .. ","):find("," .. flag .. ",", 1, true) ~= nil
end

local ask_about = {}

function ask_about.data(socket)
    local role = list(ask(socket, "ROLE"))
    if role[1] == "slave" then
        return { role = "slave", follows = address(role[2], role[3]), linked = role[4] == "connected" }
    end
    assert(role[1] == "master", "no role of a data node")
    return { role = "master" }
end

-- `names` is what clients are told. `chose` is the same, or the replica that this Sentinel, as the leader of a failover,
-- promotes (`promotes`): known at once, while `names` follows up to a second later.
function ask_about.sentinel(socket)
    local named = list(ask(socket, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME))
    local master = fields(list(ask(socket, "SENTINEL", "MASTER", MASTER_NAME)))
    local names = address(named[1], named[2])
    local answer = { names = names, chose = names, epoch = epoch(master["config-epoch"]) }
    if has_flag(text(master.flags), "failover_in_progress") then
        for _, each in ipairs(list(ask(socket, "SENTINEL", "REPLICAS", MASTER_NAME))) do
            local replica = fields(list(each))
            if has_flag(text(replica.flags), "promoted") then
                answer.chose, answer.promotes = address(replica.ip, replica.port), true
            end
        end
    end
    return answer
end

local function answer_of(peer)
    return peer.answer and now_ms() - peer.answered_ms <= FRESH_MS and peer.answer or nil
end

-- ------------------------------------------------------------------------------------------------------ the decision

local function node_at(address)
    for _, node in ipairs(data) do
        if node.address == address then
            return node
        end
    end
end

local function says_master(address)
    local node = node_at(address)
    local answer = node and answer_of(node)
    return answer ~= nil and answer.role == "master"
end

local function fresh_votes()
    local votes = {}
    for _, sentinel in ipairs(sentinels) do
        table.insert(votes, answer_of(sentinel))
    end
    return votes
end

local function named_by_majority(votes)
    local count = {}
    for _, vote in ipairs(votes) do
        count[vote.names] = (count[vote.names] or 0) + 1
        if count[vote.names] >= MAJORITY then
            return vote.names
        end
    end
end

-- Another node that says master, chosen by a Sentinel that is ahead of the majority: it leads a failover, or knows a later
-- configuration epoch.
local function contradicts(votes, elected)
    local latest = 0
    for _, vote in ipairs(votes) do
        if vote.names == elected then
            latest = math.max(latest, vote.epoch)
        end
    end
    for _, vote in ipairs(votes) do
        if vote.chose ~= elected and (vote.promotes or vote.epoch > latest) and says_master(vote.chose) then
            return vote.chose
        end
    end
end

-- Whom the majority's master says that it follows, if that node says master and a Sentinel has chosen it: a handover.
-- The master's own word is what no Sentinel and no other node can give in its place.
local function handed_over_to(votes, elected)
    local node = node_at(elected)
    local heir = node and answer_of(node) and answer_of(node).follows
    for _, vote in ipairs(votes) do
        if heir and vote.chose == heir and says_master(heir) then
            return heir
        end
    end
end

-- A failover under way is over within two seconds. So one Sentinel and one node that go on contradicting the others, in
-- error or in malice, cost DOUBT_MS, and again only after REST times as long.
local doubted_ms, weighed_ms, believed = 0, now_ms(), true

local function hold_back(contradicted)
    local passed = now_ms() - weighed_ms
    weighed_ms = weighed_ms + passed
    if contradicted and believed then
        doubted_ms = doubted_ms + math.min(passed, 2 * POLL_MS) -- from now on, not since the last question
        believed = doubted_ms <= DOUBT_MS
    else
        doubted_ms = math.max(0, doubted_ms - passed / REST)
        believed = believed or doubted_ms == 0
    end
    return contradicted and believed
end

-- The proven master's address, or nothing, and why. docs/gateway.md has this as a table.
local function proven_master()
    if #sentinels == 0 then
        return says_master(data[1].address) and data[1].address or nil, "its own ROLE"
    end
    local votes = fresh_votes()
    if #votes < MAJORITY then
        return nil, ("only %d of %d Sentinels answer"):format(#votes, #sentinels)
    end
    local elected = named_by_majority(votes)
    if not elected then
        return nil, "the Sentinels name no one by majority"
    end
    local other = says_master(elected) and contradicts(votes, elected)
    if hold_back(other) then
        return nil, ("the Sentinels are moving from %s to %s and both say master"):format(elected, other)
    end
    if says_master(elected) then
        return elected, "named by a majority of the Sentinels"
    end
    local heir = handed_over_to(votes, elected)
    if heir then
        return heir, "chosen by a Sentinel, and the master that the majority names follows it"
    end
    return nil, ("the Sentinels name %s, which does not say master"):format(elected)
end

-- Replicas that follow the proven master and were linked to it within LAG_MS; without any, the master itself, which is
-- never behind.
local function readers_of(master)
    local readers, any = {}, false
    for _, node in ipairs(data) do
        local answer = answer_of(node)
        if answer and answer.role == "slave" then
            if master and answer.linked and answer.follows == master then
                node.in_sync_ms = node.answered_ms
            end
            readers[node.name] = now_ms() - node.in_sync_ms <= LAG_MS or nil
            any = any or readers[node.name] ~= nil
        end
    end
    if not any and master then
        readers[node_at(master).name] = true
    end
    return readers
end

-- --------------------------------------------------------------------------------------------------------- the effect

local enabled = { master = {}, readers = {} }

-- Those that leave go first, and HAProxy closes their connections (on-marked-down): never two masters.
local function serve(backend, wanted)
    local servers, now = core.backends[backend].servers, enabled[backend]
    for _, node in ipairs(data) do
        if now[node.name] and not wanted[node.name] then
            servers[node.name]:set_maint()
            now[node.name] = nil
        end
    end
    for _, node in ipairs(data) do
        if wanted[node.name] and not now[node.name] then
            servers[node.name]:set_ready()
            now[node.name] = true
        end
    end
end

local said

local function say(text)
    if text ~= said then
        said = text
        core.log(core.notice, "gateway: " .. text)
    end
end

local function decide()
    local master, reason = proven_master()
    local node = master and node_at(master)
    serve("master", node and { [node.name] = true } or {})
    serve("readers", readers_of(master))
    say((node and node.name .. " is the master: " or "no master is served: ") .. reason)
end

local function decide_or_stop_serving()
    local ok, problem = pcall(decide)
    if not ok then
        serve("master", {})
        serve("readers", {})
        say("nothing is served, the decision failed: " .. tostring(problem))
    end
end

-- --------------------------------------------------------------------------------------------------------- the tasks

local function talk_to(peer, watch)
    local socket = core.tcp()
    socket:settimeout(SILENCE_S)
    local _, problem = pcall(function()
        assert(socket:connect(peer.link))
        ask(socket, "AUTH", "monitor", PASSWORD)
        while true do
            local answer = ask_about[peer.kind](socket)
            assert(peer.watch == watch, "another task asks it now")
            peer.answer, peer.answered_ms, peer.alive_ms = answer, now_ms(), now_ms()
            decide_or_stop_serving()
            core.msleep(POLL_MS)
        end
    end)
    pcall(socket.close, socket)
    return tostring(problem)
end

local function start_watching(peer)
    local watch = peer.watch + 1
    peer.watch, peer.alive_ms = watch, now_ms()
    core.register_task(function()
        local said_of_peer
        while peer.watch == watch do
            local began_ms = now_ms()
            peer.alive_ms = began_ms
            local problem = talk_to(peer, watch)
            if problem ~= said_of_peer then
                said_of_peer = problem
                core.log(core.notice, ("gateway: no answer from %s: %s"):format(peer.name, problem))
            end
            -- A connection that worked and was closed (CLIENT KILL at a handover) is opened again at once.
            if now_ms() - began_ms < POLL_MS then
                core.msleep(POLL_MS)
            end
        end
    end)
end

-- Seen on HAProxy 2.6 and a machine under heavy load: some tasks never woke up again although their sockets had the
-- answer, and no time-out ended that. They cannot be ended from outside, so another one takes over.
local function replace_if_stuck(peer)
    if now_ms() - peer.alive_ms > STUCK_MS then
        core.log(core.warning, ("gateway: the task that asks %s is stuck: another one takes over"):format(peer.name))
        start_watching(peer)
    end
end

local function for_each_peer(act)
    for _, list in ipairs({ data, sentinels }) do
        for _, peer in ipairs(list) do
            act(peer)
        end
    end
end

for_each_peer(start_watching)
core.register_task(function() -- answers grow old without anyone answering
    while true do
        core.msleep(POLL_MS)
        for_each_peer(replace_if_stuck)
        decide_or_stop_serving()
    end
end)
