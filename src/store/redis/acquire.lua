-- Grants the lease if it is free and not reserved for another replica. The last part of a token is the maximum time to
-- live of its lease, in ms. If a token has no such part, the longest maximum that can be configured applies. A lease
-- that has no time to live, or more than its maximum, would outlive its holder, so it counts as free.
-- Replicas with different settings would trim each other's history and change the feed's currencies. So the first
-- leader stores its settings. A replica with different settings is rejected until no replica with the stored settings
-- is alive (beat.lua).
-- The settings of a replica for which the lease is reserved do not count: it has what the store lacks, and no other
-- replica can get the lease.
-- A feed never mixes real and simulated prices, even if no replica of the other kind is alive. The entries of the feed
-- show its kind. The script compares this kind with the caller's only if the lease is free, or if ARGV[8] is 1.
-- KEYS: lease, claim, settings, ticks, record (hash: id of the newest record's entry)
-- ARGV: holder, token, time to live in ms, longest maximum (in ms) that can be configured, settings, time to live of
--       the settings in ms, kind of the prices: real, simulated or '', and 1 if the kind must be compared even if the
--       lease is not free
-- Returns {'done'} | {'done', token and time to live of the lease that was replaced} | {'refused'}
--   | {'other', the others' settings} | {'mixed', kind of the prices in the feed}
local claimant = claim_of(KEYS[2])
if claimant and claimant ~= ARGV[1] then return {'refused'} end
local settings = settings_of(KEYS[3])
local is_other = not claimant and ARGV[5] ~= '' and settings and shared_part(settings) ~= shared_part(ARGV[5])
local held = redis.call('GET', KEYS[1])
-- The answer to an earlier attempt was lost.
if held == ARGV[2] then return {'done'} end
local left = redis.call('PTTL', KEYS[1])
local is_held = false
if held then
  local term = tonumber(string.match(held, '%.(%d+)$') or ARGV[4])
  is_held = left >= 0 and left <= term
end
if ARGV[7] ~= '' and (not is_held or ARGV[8] == '1') then
  local kind = kind_of(KEYS[4], known_time(KEYS[4], 0, redis.call('HMGET', KEYS[5], 'id')[1]))
  if kind and kind ~= ARGV[7] then return {'mixed', kind} end
end
if is_other then return {'other', settings} end
if is_held then return {'refused'} end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if ARGV[5] ~= '' then redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[6]) end
if held then return {'done', held .. ' ' .. left} end
return {'done'}
