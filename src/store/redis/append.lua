-- Appends an event in one atomic step: checks the lease, assigns the id, stores the entry, publishes it, and trims old
-- ones.
-- While a slot of a cluster moves, a script runs only if all of its keys exist. So the keys that often do not exist are
-- passed only in a second call. The caller makes it if the answer is {'again'}.
-- KEYS: lease, ticks (sorted set, score = id), record (hash: writer, number and id of the newest record, the oldest id
--       that is kept, and the retention), audits (sorted set, score = id) if there is an audit or with the second call,
--       and with the second call also: quarantine, claim (hash: holder, rank)
-- ARGV: token, age_ms (time since the event), seen (newest id that the leader knows), retention_ms, writer, number,
--       channel, body (the event's JSON without its opening brace), limit of the quarantine,
--       command that publishes (PUBLISH or SPUBLISH), audit (JSON without its opening brace, or '' if there is none),
--   12: moment of the event as the leader counts it, or ''
--   13: maximum difference in ms between the id and this moment
--   14: time in ms since the newest entry, or ''
--   15: 1 to ignore the number in the hash (another program has changed it), or ''
-- Returns {'done', entry, number of quarantined members, keys that were replaced} | {'refused'}
--   | {'later', number of the newest record} | {'claimed', replica} | {'behind', newest id} | {'again'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'refused'} end

-- A failure to write an audit or the quarantine must not stop the feed.
local replaced = {}
local function add(key, score, member)
  if add_or_replace(key, score, member) then table.insert(replaced, key) end
end

-- A writer gives its records increasing numbers, and each record is written only once. If an answer was lost, the
-- leader sends the record again. Then both attempts may arrive, in any order. Other programs may have changed the hash,
-- so its values are checked.
local record = redis.call('HMGET', KEYS[3], 'writer', 'number', 'id', 'floor', 'retention')
local number, newest = tonumber(ARGV[6]), ARGV[15] == '' and whole(record[2]) or 0
local lost = nil
if record[1] == ARGV[5] and number <= newest then
  if number < newest then return {'later', record[2]} end
  lost = whole(record[3])
  local done = lost and redis.call('ZRANGEBYSCORE', KEYS[2], record[3], record[3]) or {}
  for i = 1, #done do
    if entry_of(done[i], record[3]) then return {'done', done[i]} end
  end
  -- If the newest record's entry is gone, it is written again.
end

-- When a new writer appends its first entry, other replicas drop the records that they hold. So a replica that holds
-- records writes them first. Only such a replica has a rank of RECORDS or more (claim.lua).
if record[1] ~= ARGV[5] then
  if not KEYS[6] then return {'again'} end
  local claimant, rank = claim_of(KEYS[6])
  local is_own = claimant and string.sub(claimant, -#ARGV[5]) == ARGV[5]
  if claimant and not is_own and rank >= RECORDS then return {'claimed', claimant} end
end

-- A member whose id is far ahead of the clock counts as garbage. The exception is an entry that the leader has seen or
-- that a script has written, because then the clock is wrong.
local seen, now = tonumber(ARGV[3]), clock()
local prev, garbage = newest_of(KEYS[2], known_time(KEYS[2], seen, record[3]))
if seen > prev then return {'behind', string.format('%d', prev)} end

-- Garbage at the end would become a part of the chain, and could move ids and the retention far into the future.
if garbage > 0 then
  if not KEYS[5] then return {'again'} end
  local found = redis.call('ZREVRANGE', KEYS[2], 0, math.min(garbage, tonumber(ARGV[9])) - 1, 'WITHSCORES')
  for i = 1, #found, 2 do add(KEYS[5], found[i + 1], found[i]) end
  redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -1 - ARGV[9])
  redis.call('ZREMRANGEBYRANK', KEYS[2], -garbage, -1)
end

-- The numbers are formatted with %d, because Lua would print them with 14 digits and an exponent.
local id = now - tonumber(ARGV[2])
if ARGV[12] ~= '' and math.abs(id - tonumber(ARGV[12])) > tonumber(ARGV[13]) then id = tonumber(ARGV[12]) end
id = math.max(id, prev + 1)
local score = string.format('%d', id)
local entry = string.format('{"id":%d,"prev":%d,', id, prev) .. ARGV[8]
-- The hash is written first. If a later command is rejected and the leader retries, the entry is still written only
-- once.
redis.call('HSET', KEYS[3], 'writer', ARGV[5], 'number', ARGV[6], 'id', score)
redis.call('ZADD', KEYS[2], score, entry)
redis.call(ARGV[10], ARGV[7], entry)

-- The floor is the oldest id that is kept. If the time since the newest entry is given, the floor moves forward by at
-- most the sum of this time and the time by which the retention was shortened. So a jump of the clock does not delete
-- the history.
local retention = tonumber(ARGV[4])
local floor = id - retention
if ARGV[14] ~= '' then
  -- Another program may have changed the saved floor. A valid one is not after the newest entry, and not more than the
  -- retention before the oldest entry.
  local oldest, before = oldest_of(KEYS[2]), whole(record[4])
  if not before or before > prev then before = oldest end
  before = math.max(before, oldest - retention)
  local shortened = math.max((whole(record[5]) or retention) - retention, 0)
  floor = math.min(floor, before + tonumber(ARGV[14]) + shortened)
end
floor = math.max(floor, 0)
redis.call('HSET', KEYS[3], 'floor', string.format('%d', floor), 'retention', ARGV[4])
local expired = string.format('(%d', floor)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', expired)
if KEYS[4] and lost then redis.pcall('ZREMRANGEBYSCORE', KEYS[4], record[3], record[3]) end
if ARGV[11] ~= '' and KEYS[4] then add(KEYS[4], score, string.format('{"id":%d,', id) .. ARGV[11]) end
if KEYS[4] then redis.pcall('ZREMRANGEBYSCORE', KEYS[4], '-inf', expired) end
return {'done', entry, tostring(garbage), table.concat(replaced, ' ')}
