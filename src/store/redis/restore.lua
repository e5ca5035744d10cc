-- Puts lost entries back unchanged. Nothing is published: a replica that has missed one of them detects that by the
-- prev of the next entry and reads the history.
-- KEYS: lease, ticks    ARGV: token, then pairs of id and entry
-- Returns {'done'} | {'refused'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'refused'} end
for i = 2, #ARGV, 2 do
  if redis.call('ZCOUNT', KEYS[2], ARGV[i], ARGV[i]) == 0 then redis.call('ZADD', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
return {'done'}
