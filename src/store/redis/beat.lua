-- Records that a replica is alive. Returns the time in ms, the token of the lease (or ''), the lease's time to live in
-- ms, the settings of the replicas that may lead (or ''), and then the replicas that are alive.
-- KEYS: lease, replicas, settings    ARGV: replica, time to live in ms, settings
local now = clock()
local _, failure = add_or_replace(KEYS[2], now + ARGV[2], ARGV[1])
if failure then return failure end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
-- Removes replicas that expire too far in the future: they were added while the clock of Redis was ahead. The bound is
-- twice the time to live, because the clock may go back by some milliseconds at any time.
redis.call('ZREMRANGEBYSCORE', KEYS[2], '(' .. string.format('%d', now + 2 * ARGV[2]), '+inf')
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local settings = settings_of(KEYS[3])
if shared_part(settings) == shared_part(ARGV[3]) then redis.call('PEXPIRE', KEYS[3], ARGV[2]) end
local answer = redis.call('ZRANGE', KEYS[2], 0, 999)
table.insert(answer, 1, settings or '')
table.insert(answer, 1, tostring(redis.call('PTTL', KEYS[1])))
table.insert(answer, 1, redis.call('GET', KEYS[1]) or '')
table.insert(answer, 1, string.format('%d', now))
return answer
