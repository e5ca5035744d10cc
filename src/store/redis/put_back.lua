-- Puts entries back into places inside the feed. It needs no lease, because the neighbours of a place confirm what
-- belongs there: no entry may be between an entry and its prev. An entry after the newest one has no place that is
-- confirmed. KEYS: ticks    ARGV: retention_ms, then id, prev and text of each entry
-- Returns the number of entries that were put back
local newest = newest_of(KEYS[1], clock())
local added = 0
for i = 2, #ARGV, 3 do
  local id, prev = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  if id < newest and id >= newest - tonumber(ARGV[1]) and redis.call('ZCOUNT', KEYS[1], ARGV[i], ARGV[i]) == 0 then
    local after = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[i], string.format('%d', newest), 'WITHSCORES', 'LIMIT', 0, 1)
    local follower = entry_of(after[1], after[2])
    local before = redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[i], '-inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    if follower and follower.prev >= id and (not before or tonumber(before) <= prev) then
      redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 2])
      added = added + 1
    end
  end
end
return added
