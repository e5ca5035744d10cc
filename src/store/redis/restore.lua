-- Puts lost entries, or their audits, back unchanged. Nothing is published: a replica that has missed an entry detects
-- that by the prev of the next entry and reads the history. If an entry is older than the floor, which is the oldest id
-- that is kept, the floor moves back to that entry. Otherwise the next append could remove all such entries at once.
-- After the move, they expire one after the other as time passes.
-- KEYS: lease, the set (ticks or audits), and a third key only if the set is ticks: record (hash: floor)
-- ARGV: token, then pairs of id and text
-- Returns {'done'} | {'refused'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'refused'} end
local oldest = nil
for i = 2, #ARGV, 2 do
  local is_there
  if KEYS[3] then
    is_there = has_entry(KEYS[2], ARGV[i])
    oldest = math.min(oldest or WHOLE, tonumber(ARGV[i]))
  else
    is_there = redis.call('ZCOUNT', KEYS[2], ARGV[i], ARGV[i]) > 0
  end
  if not is_there then redis.call('ZADD', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
if oldest then
  local floor = whole(redis.call('HMGET', KEYS[3], 'floor')[1])
  if floor and oldest < floor then redis.call('HSET', KEYS[3], 'floor', string.format('%d', oldest)) end
end
return {'done'}
