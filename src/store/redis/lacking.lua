-- Returns the places in ARGV of the ids that no entry has. KEYS: ticks    ARGV: ids
local lacking = {}
for i = 1, #ARGV do
  if not has_entry(KEYS[1], ARGV[i]) then table.insert(lacking, i) end
end
return lacking
