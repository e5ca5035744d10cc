-- Reserves the lease for a replica that has something that the store lacks: records that are not written yet, or
-- entries after the store's newest one. Of several replicas, one with records comes first, then the one with the newest
-- entry.
-- KEYS: claim (hash: holder, rank), ticks, settings, record (hash: id of the newest record's entry)
-- ARGV: holder, seen (newest id that it knows), records, time to live in ms, settings, kind of the prices
-- Returns the replica for which the lease is reserved, or ''
local records, seen = tonumber(ARGV[3]), tonumber(ARGV[2])
local known = known_time(KEYS[2], seen, redis.call('HMGET', KEYS[4], 'id')[1])
local claimant, best = claim_of(KEYS[1])
-- A claim lets a replica lead even if its settings differ from the stored ones (acquire.lua). A replica without records
-- may not claim with such settings.
local settings = settings_of(KEYS[3])
local is_other = ARGV[5] ~= '' and settings and shared_part(settings) ~= shared_part(ARGV[5])
if records == 0 and (is_other or seen <= newest_of(KEYS[2], known)) then return claimant or '' end
local kind = ARGV[6] ~= '' and kind_of(KEYS[2], known)
if kind and kind ~= ARGV[6] then return claimant or '' end

local rank = math.min(records, 1) * RECORDS + seen
if claimant and claimant ~= ARGV[1] and best >= rank then return claimant end
-- Without a valid claim, the key may have a value of a wrong type.
if not claimant then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'rank', string.format('%d', rank))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return ARGV[1]
