-- Grants the lease if it is free and not reserved for another replica.
-- KEYS: lease, claim    ARGV: holder, token, time to live in ms
-- Returns {'done'} | {'refused'}
local claimant = redis.call('HMGET', KEYS[2], 'holder')[1]
if claimant and claimant ~= ARGV[1] then return {'refused'} end
if not redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3]) then return {'refused'} end
return {'done'}
