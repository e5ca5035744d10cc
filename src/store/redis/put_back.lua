-- Puts lost entries back into the feed. It needs no lease, because the stored entries around a lost one confirm its
-- place: the prev of the stored entry after it is its id, or greater if entries between the two are lost, too. The id
-- of the stored entry before it, if there is one, is its prev, or less. An entry that is newer than the newest stored
-- one is skipped, because no later entry confirms it. An entry that is older than the retention is skipped, too.
-- KEYS: ticks    ARGV: retention_ms, then id, prev and text of each entry
-- Returns the number of entries that were put back

-- Returns the first entry that `command` finds on the way from the id `from` to the id `to`, or nil. Skips members of
-- the set that are no entries.
local function neighbour(command, from, to)
  local skipped = 0
  while true do
    local found = redis.call(command, KEYS[1], from, to, 'WITHSCORES', 'LIMIT', skipped, 10)
    for i = 1, #found, 2 do
      local entry = entry_of(found[i], found[i + 1])
      if entry then return entry end
    end
    if #found == 0 then return nil end
    skipped = skipped + 10
  end
end

local newest = newest_of(KEYS[1], math.max(clock(), tonumber(ARGV[#ARGV - 2] or 0)))
local added = 0
for i = 2, #ARGV, 3 do
  local id, prev = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  if id < newest and id >= newest - tonumber(ARGV[1]) and not has_entry(KEYS[1], ARGV[i]) then
    local after = neighbour('ZRANGEBYSCORE', ARGV[i], string.format('%d', newest))
    local before = neighbour('ZREVRANGEBYSCORE', ARGV[i], '-inf')
    if after and after.prev >= id and (not before or before.id <= prev) then
      redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 2])
      added = added + 1
    end
  end
end
return added
