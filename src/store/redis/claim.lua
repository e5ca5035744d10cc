-- Reserves the lease for a replica that has something that the store lacks: records that are not written yet, or
-- entries after the newest one. Of several replicas, one with records comes first, then the one with the newest entry.
-- KEYS: claim (hash: holder, rank), ticks, settings
-- ARGV: holder, seen (newest id that it knows), records, time to live in ms, settings
-- Returns the replica for which the lease is reserved, or ''
local newest = newest_of(KEYS[2], clock())
local claimant, best = claim_of(KEYS[1])
-- Without records, a replica with other settings than those that lead must not come first.
local settings = redis.call('GET', KEYS[3])
local is_other = ARGV[5] ~= '' and settings and settings ~= ARGV[5]
local records, seen = tonumber(ARGV[3]), tonumber(ARGV[2])
if records == 0 and (seen <= newest or is_other) then return claimant or '' end

local rank = math.min(records, 1) * RECORDS + seen
if claimant and claimant ~= ARGV[1] and best >= rank then return claimant end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'rank', string.format('%d', rank))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return ARGV[1]
