-- Extends the lease to its full time to live if it still has this token.
-- KEYS: lease    ARGV: token, ttl_ms
-- Returns {'done'} | {'refused'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'refused'} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'done'}
