-- Functions that the scripts share. This file comes before each script that needs them, and after the definitions of
-- MAX_AHEAD and MAX_CLAIM (scripts.rs).

-- Lua can represent every whole number up to this one.
local WHOLE = 2^53

-- A claim's rank is the newest id that the replica knows, plus this number if the replica has records. Ids have 13
-- digits, so a claim with records has a higher rank than any claim without.
local RECORDS = 10^14

-- Returns the time in ms.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Returns the number in a text if it is a whole one from 0 to WHOLE, or nil. The text is from a hash in Redis, which
-- may contain anything.
local function whole(text)
  local number = text and tonumber(text)
  if not number or not (number >= 0 and number <= WHOLE) or number ~= math.floor(number) then return nil end
  return number
end

-- Returns the replica for which the lease is reserved, and the rank of its claim, or nil. A claim that never expires
-- does not count. A claim with more time left than a new one does not count, either: it was made while the clock of
-- Redis was ahead.
local function claim_of(key)
  local left = redis.call('PTTL', key)
  if left < 0 or left > MAX_CLAIM then return nil end
  local claim = redis.call('HMGET', key, 'holder', 'rank')
  return claim[1] or nil, whole(claim[2]) or 0
end

-- Returns the entry that a member of the set holds, or nil if the member is garbage: it is not an entry, or its score
-- is not the id of the entry.
local function entry_of(member, score)
  local decoded, entry = pcall(cjson.decode, member)
  if not decoded or type(entry) ~= 'table' or type(entry.prev) ~= 'number' then return nil end
  if entry.id ~= tonumber(score) or entry.id ~= math.floor(entry.id) then return nil end
  return entry
end

-- Returns true if the set has an entry with this id. Garbage may have the same score. Every entry that a script or a
-- replica has written begins with its id and its prev, so nearly no entry is decoded.
local function has_entry(ticks, id)
  local beginning = '{"id":' .. id .. ',"prev":'
  local found = redis.call('ZRANGEBYSCORE', ticks, id, id)
  for i = 1, #found do
    if string.sub(found[i], 1, #beginning) == beginning and string.sub(found[i], -1) == '}' then return true end
  end
  for i = 1, #found do
    if entry_of(found[i], id) then return true end
  end
  return false
end

-- Returns the id of the newest entry, or 0, and the number of members after it, which are garbage. `now` is the
-- greatest time that is trusted: the time of the clock, or the id of an entry. A member whose score is more than
-- MAX_AHEAD above `now` is garbage.
local function newest_of(ticks, now)
  local latest = string.format('%d', now + MAX_AHEAD)
  local garbage = redis.call('ZCOUNT', ticks, '(' .. latest, '+inf')
  local from = 0
  while true do
    local found = redis.call('ZREVRANGEBYSCORE', ticks, latest, '-inf', 'WITHSCORES', 'LIMIT', from, 10)
    for i = 1, #found, 2 do
      if entry_of(found[i], found[i + 1]) then return tonumber(found[i + 1]), garbage end
      garbage = garbage + 1
    end
    if #found == 0 then return 0, garbage end
    from = from + 10
  end
end

-- Returns the id of the oldest entry, or 0 if there is none.
local function oldest_of(ticks)
  local from = 0
  while true do
    local found = redis.call('ZRANGEBYSCORE', ticks, '-inf', '+inf', 'WITHSCORES', 'LIMIT', from, 10)
    for i = 1, #found, 2 do
      if entry_of(found[i], found[i + 1]) then return tonumber(found[i + 1]) end
    end
    if #found == 0 then return 0 end
    from = from + 10
  end
end

-- Returns the greatest time that is trusted: the time of the clock, `seen` or `written`. `seen` is the id of an entry
-- that a replica has. `written` is the id in the hash of the newest record. Another program may have changed this hash.
-- So `written` is trusted only if the set has an entry with this id, or one at most MAX_AHEAD before it.
local function known_time(ticks, seen, written)
  local now, id = math.max(clock(), seen), whole(written)
  if not id or id <= now then return now end
  if newest_of(ticks, id - MAX_AHEAD) < id - MAX_AHEAD then return now end
  return id
end

-- Adds a member to a sorted set other than the history. Returns false if Redis accepts this at once. If the key has a
-- value of a wrong type, replaces that value, which another program has written, and returns true. After any other
-- error, returns false and the error.
local function add_or_replace(key, score, member)
  local added = redis.pcall('ZADD', key, score, member)
  if type(added) ~= 'table' then return false end
  if not string.find(added.err or '', 'WRONGTYPE', 1, true) then return false, added end
  redis.call('DEL', key)
  redis.call('ZADD', key, score, member)
  return true
end

-- Returns the settings of the replicas that may lead, or nil. A value of a wrong type counts as none. The next leader
-- replaces it.
local function settings_of(key)
  local settings = redis.pcall('GET', key)
  return type(settings) == 'string' and settings or nil
end

-- Returns the part of settings that all replicas of a feed must share. What follows the semicolon may differ, for
-- example while the replicas are updated one after the other.
local function shared_part(settings)
  return settings and string.match(settings, '^[^;]*')
end

-- Returns the kind of the newest tick, 'real' or 'simulated', or nil if none of the newest 1010 members is a tick that
-- names a source. `now` is as in `newest_of`.
local function kind_of(ticks, now)
  local latest = string.format('%d', now + MAX_AHEAD)
  for from = 0, 1000, 10 do
    local found = redis.call('ZREVRANGEBYSCORE', ticks, latest, '-inf', 'WITHSCORES', 'LIMIT', from, 10)
    for i = 1, #found, 2 do
      local entry = entry_of(found[i], found[i + 1])
      if entry and type(entry.sources) == 'table' then
        for _, names in pairs(entry.sources) do
          for _, name in pairs(type(names) == 'table' and names or {}) do
            return name == 'simulated' and 'simulated' or 'real'
          end
        end
      end
    end
    if #found == 0 then return nil end
  end
end
