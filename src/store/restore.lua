-- Puts back entries that a failover lost, as they were. Nothing is published: whoever misses one of them notices by the
-- next entry's prev and reads the history.
-- KEYS: lease, ticks    ARGV: token, then id and entry in turn
-- Returns {'done'} | {'refused'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'refused'} end
for i = 2, #ARGV, 2 do
  if redis.call('ZCOUNT', KEYS[2], ARGV[i], ARGV[i]) == 0 then redis.call('ZADD', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
return {'done'}
