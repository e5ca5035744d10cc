-- Functions that the scripts share. This file comes before each script that needs them, and after the definition of
-- MAX_AHEAD (scripts.rs).

-- The part of a claim's rank that says that the replica has records. Ids have 13 digits, so records weigh more.
local RECORDS = 10^14

-- Returns the time in ms.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Returns the replica for which the lease is reserved, and its rank, or nil. A claim that never expires counts as none.
local function claim_of(key)
  if redis.call('PTTL', key) < 0 then return nil end
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

-- Returns the id of the newest entry, or 0, and the number of members after it, which are garbage.
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

