-- Makes the lease last its full time again, if it is still ours.
-- KEYS: lease    ARGV: token, ttl_ms
-- Returns {'done'} | {'refused'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'refused'} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'done'}
