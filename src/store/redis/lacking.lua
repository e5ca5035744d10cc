-- Each argument is an id. Returns the numbers (from 1) of the arguments for which the set has no entry.
-- KEYS: ticks    ARGV: ids
local lacking = {}
for i = 1, #ARGV do
  if not has_entry(KEYS[1], ARGV[i]) then table.insert(lacking, i) end
end
return lacking
