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
local ANSWER_TIMEOUT_S = 0.5
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

-- Strings are read as lines: none that is asked for here contains a line break.
local function read_reply(socket)
    local line = assert(socket:receive("*l"))
    local kind, rest = line:sub(1, 1), line:sub(2)
    if kind == "-" then
        error("refused: " .. rest, 0)
    elseif kind == "$" then
        return rest ~= "-1" and assert(socket:receive("*l")) or nil
    elseif kind == "*" then
        local list = {}
        for _ = 1, tonumber(rest) do
            table.insert(list, read_reply(socket) or "")
        end
        return list
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
    return read_reply(socket)
end

local function fields(list)
    local named = {}
    for index = 1, #list, 2 do
        named[list[index]] = list[index + 1]
    end
    return named
end

-- ------------------------------------------------------------------------------------------------------- the answers

local function has_flag(flags, flag)
    return ("," .. flags .. ","):find("," .. flag .. ",", 1, true) ~= nil
end

local ask_about = {}

function ask_about.data(socket)
    local reply = ask(socket, "ROLE")
    if reply[1] == "slave" then
        return { role = "slave", follows = reply[2] .. ":" .. reply[3], linked = reply[4] == "connected" }
    end
    return { role = reply[1] }
end

-- `names` is what clients are told. `promotes` is the replica that this Sentinel, as the leader of a failover, has
-- chosen: known at once, while `names` follows up to a second later.
function ask_about.sentinel(socket)
    local address = ask(socket, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)
    local master = fields(ask(socket, "SENTINEL", "MASTER", MASTER_NAME))
    local answer = { names = table.concat(address, ":"), epoch = tonumber(master["config-epoch"]) }
    if has_flag(master.flags, "failover_in_progress") then
        for _, list in ipairs(ask(socket, "SENTINEL", "REPLICAS", MASTER_NAME)) do
            local replica = fields(list)
            if has_flag(replica.flags, "promoted") then
                answer.promotes = replica.ip .. ":" .. replica.port
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

-- What the Sentinel that is ahead of the others says: it leads a failover, or knows a later configuration epoch.
-- Nothing when two are ahead and disagree.
local function newest(votes)
    local best, epoch
    for _, vote in ipairs(votes) do
        local address = vote.promotes or vote.names
        local rank = vote.promotes and math.huge or vote.epoch
        if not epoch or rank > epoch then
            best, epoch = address, rank
        elseif rank == epoch and address ~= best then
            best = nil
        end
    end
    return best
end

local function another_says_master(votes, address)
    for _, vote in ipairs(votes) do
        if vote.names ~= address and says_master(vote.names) then
            return true
        end
    end
    return false
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
    local elected, successor = named_by_majority(votes), newest(votes)
    if elected and says_master(elected) then
        if successor and successor ~= elected and says_master(successor) then
            return nil, ("the Sentinels are moving from %s to %s and both say master"):format(elected, successor)
        end
        return elected, "named by a majority of the Sentinels"
    end
    if successor and says_master(successor) and not another_says_master(votes, successor) then
        return successor, "being promoted by the Sentinels, and the old master is none any more"
    end
    return nil, ("the Sentinels name %s, which does not say master"):format(elected or "no one by majority")
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
    socket:settimeout(ANSWER_TIMEOUT_S)
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
