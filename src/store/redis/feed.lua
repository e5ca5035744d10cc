-- Functions that the scripts share. This file comes before each script that needs them, and after the definition of
-- MAX_AHEAD (scripts.rs).

-- The part of a claim's rank that says that the replica has records. Ids have 13 digits, so records weigh more.
local RECORDS = 10^14

-- Returns the time in ms.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Returns the replica for which the lease is reserved, and its rank, or nil. A claim that never expires counts as none,
-- and so does one that expires later than a new one: the clock of Redis was ahead when it was made.
local function claim_of(key)
  local left = redis.call('PTTL', key)
  if left < 0 or left > MAX_CLAIM then return nil end
  local claim = redis.call('HMGET', key, 'holder', 'rank')
  return claim[1] or nil, tonumber(claim[2]) or 0
end

-- Returns the entry that a member of the set holds, or nil if the member is garbage: its score is not the id of an
-- entry.
local function entry_of(member, score)
  local decoded, entry = pcall(cjson.decode, member)
  if not decoded or type(entry) ~= 'table' or type(entry.prev) ~= 'number' then return nil end
  if entry.id ~= tonumber(score) or entry.id ~= math.floor(entry.id) then return nil end
  return entry
end

-- Returns the id of the newest entry, or 0, and the number of members after it, which are garbage. `now` is the greatest
-- time that is known to be no error: that of the clock, or that of an entry.
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


-- Returns the part of settings that all replicas of a feed must share. What follows may differ, for example during an
-- update of one replica after the other.
local function shared_part(settings)
  return settings and string.match(settings, '^[^;]*')
end

-- Returns the kind of the newest tick, 'real' or 'simulated', or nil if there is none.
local function kind_of(ticks)
  local latest = string.format('%d', clock() + MAX_AHEAD)
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
