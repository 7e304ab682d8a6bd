-- Sends a share of the clients, by their source address, to the canary's gateway: docs/gateway.md, "A canary's share".
--
-- Loaded, beside gateway.lua, by the configuration that infra/gateway.py renders for a stack with a canary. It sets
-- GATEWAY_CANARY_SHARE_FILE (the declared share, a whole percentage) and GATEWAY_CANARY_OVERRIDE_FILE (the same, written
-- at run time). In the backends `canary` and `canary-readers` every server is the canary's gateway: bucket1 to bucket100,
-- one for each hundredth of the clients, so that a smaller share closes the connections of those that it leaves out and
-- no others. `canary-health` checks it.

local POLL_MS = 200
local BUCKETS = 100

local function option(name)
    local value = os.getenv("GATEWAY_" .. name)
    assert(value, "GATEWAY_" .. name .. " is not set")
    return value
end

local share = 0

local function log(text)
    core.log(core.notice, "gateway: " .. text)
end

-- ----------------------------------------------------------------------------------------------------------- the side

-- 0 to 99, evenly for neighbouring addresses too: FNV-1a, then MurmurHash3's finalizer. It must never change: every
-- client keeps its bucket over restarts and versions, and a greater share only adds buckets.
local function bucket(address)
    local hash = 0x811c9dc5
    for index = 1, #address do
        hash = ((hash ~ address:byte(index)) * 0x01000193) & 0xffffffff
    end
    hash = ((hash ~ (hash >> 16)) * 0x85ebca6b) & 0xffffffff
    hash = ((hash ~ (hash >> 13)) * 0xc2b2ae35) & 0xffffffff
    return (hash ~ (hash >> 16)) % BUCKETS
end

local function canary_is_up()
    -- "UP 7/20" is on its way down, and not there yet.
    return core.backends["canary-health"].servers["canary"]:get_stats()["status"]:sub(1, 2) == "UP"
end

core.register_fetches("to_canary", function(transaction)
    return bucket(transaction.f:src()) < share and canary_is_up()
end)

core.register_fetches("canary_server", function(transaction)
    return "bucket" .. bucket(transaction.f:src()) + 1
end)

-- ---------------------------------------------------------------------------------------------------------- the share

local function content(path)
    local file = io.open(path, "r")
    if not file then
        return nil
    end
    local text = file:read("a")
    file:close()
    return text
end

-- The one that changed last counts. At the start that is the declared one: what is left of an override is older.
local sources = {
    { path = option("CANARY_SHARE_FILE") },
    { path = option("CANARY_OVERRIDE_FILE") },
}
sources[2].text = content(sources[2].path)

local function read_share()
    for _, source in ipairs(sources) do
        local text = content(source.path)
        if text ~= source.text then
            source.text = text
            local wanted = tonumber((text or ""):match("^(%d+)\n$")) -- without its line's end it is being written
            if wanted and wanted <= 100 then
                share = wanted
                log(("the canary gets %d %% of the clients"):format(share))
            end
        end
    end
end

-- --------------------------------------------------------------------------------------------------------- the effect

local open_buckets = BUCKETS -- as HAProxy starts

-- A bucket that is closed loses its connections (on-marked-down).
local function apply()
    for _, name in ipairs({ "canary", "canary-readers" }) do
        local servers = core.backends[name].servers
        for number = share + 1, open_buckets do
            servers["bucket" .. number]:set_maint()
        end
        for number = open_buckets + 1, share do
            servers["bucket" .. number]:set_ready()
        end
    end
    open_buckets = share
end

local was_up

local function follow()
    read_share()
    if share ~= open_buckets then
        apply()
    end
    local up = canary_is_up()
    if up ~= was_up then
        was_up = up
        log("the canary is " .. (up and "up" or "down: its clients are served here"))
    end
end

read_share() -- before the first connection
core.register_task(function() -- an error would end the task
    local said
    while true do
        local ok, problem = pcall(follow)
        if not ok and problem ~= said then
            said = problem
            log("the canary's share could not be followed, trying again: " .. tostring(problem))
        end
        core.msleep(POLL_MS)
    end
end)
