-- Gives an event its place in the feed: checks the lease, makes the id, keeps, trims, publishes. One step for everybody.
-- KEYS: lease, ticks (sorted set, score = id), record (the name of the newest record)
-- ARGV: token, age_ms (how long ago it happened), seen (newest id the leader knows), retention_ms, record, channel,
--       body (the event's JSON without its opening brace)
-- Returns {'done', entry} | {'refused'} | {'behind', newest id}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'refused'} end

local newest = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local prev = tonumber(newest[2] or 0)
if newest[1] and redis.call('GET', KEYS[3]) == ARGV[5] then return {'done', newest[1]} end
if tonumber(ARGV[3]) > prev then return {'behind', string.format('%d', prev)} end

-- Lua prints large numbers with 14 digits and an exponent, hence %d.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local id = math.max(now - tonumber(ARGV[2]), prev + 1)
local entry = string.format('{"id":%d,"prev":%d,', id, prev) .. ARGV[7]
redis.call('ZADD', KEYS[2], string.format('%d', id), entry)
redis.call('SET', KEYS[3], ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%d', id - tonumber(ARGV[4])))
redis.call('PUBLISH', ARGV[6], entry)
return {'done', entry}
