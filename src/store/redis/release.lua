-- Deletes the lease if it still has this token.
-- KEYS: lease    ARGV: token
-- Returns {'done'} | {'refused'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'refused'} end
redis.call('DEL', KEYS[1])
return {'done'}
