"""The Lua scripts of `RedisStore`, each of which Redis runs as one atomic operation.

They are sent with every call: they are short, and so a server that was restarted needs no special care.
"""

# A lease is a text of lines: the time at which it was last given, in milliseconds, and its owners, usually
# one. Returns time and owners, or nil. What never expires, or has another form, is no lease of ours.
_OWNERS = """
local function owners(key)
  if redis.call('TYPE', key).ok ~= 'string' or redis.call('PTTL', key) < 0 then return end
  if redis.call('STRLEN', key) > 4096 then return end
  local given, list = string.match(redis.call('GET', key), '^(%d+)(\\n.+)$')
  return tonumber(given), list
end
local function owns(list, owner)
  if list then return string.find(list .. '\\n', '\\n' .. owner .. '\\n', 1, true) end
end
"""
_NOW = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""
# Adds a name to the sorted set of names, until its value or its lease has ended, whichever is later. Removes
# the names that have ended.
_NAMED = f"""{_NOW}
local function named(key, name, px)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', key) end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('(%.0f', now()))
  local ends = math.max(now() + px, tonumber(redis.call('ZSCORE', key, name) or 0))
  redis.call('ZADD', key, string.format('%.0f', ends), name)
  if redis.call('PTTL', key) < px then redis.call('PEXPIRE', key, px) end
end
"""
# An owner that keeps its lease for longer than a lease lives may be unable to reach the service, or may have
# been planted: then one other owner joins it, and whoever is first puts the value. The answers are words: no
# wrong byte makes one of the other, upon which an owner would wait for itself.
ACQUIRE = f"""{_OWNERS}{_NAMED}
local lease, names, owner, px, name, force = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local given, list = owners(lease)
if not list or force == '1' then list = '' end
if not owns(list, owner) then
  if list ~= '' and given <= now() and now() < given + px then return 'held' end
  list = list .. '\\n' .. owner
end
redis.call('SET', lease, string.format('%.0f', now()) .. list, 'PX', px)
named(names, name, px)
return 'given'
"""
RENEW = f"""{_OWNERS}{_NAMED}
local lease, names, owner, px, name = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), ARGV[3]
local _, list = owners(lease)
if not owns(list, owner) then return 0 end
redis.call('PEXPIRE', lease, px)
named(names, name, px)
return 1
"""
# The lease ends even if there is no room for the value: nobody has to wait for a value that does not come.
# The same holds if the lease was lost, as in a FLUSHALL. An empty owner stands for none.
PUT = f"""{_OWNERS}{_NAMED}
local lease, names, value = KEYS[1], KEYS[2], KEYS[3]
local owner, px, name = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local _, list = owners(lease)
if owner ~= '' and not owns(list, owner) then
  if not list then redis.pcall('PUBLISH', lease, '') end
  return 0
end
local stored = redis.pcall('SET', value, ARGV[4], 'PX', px)
if not stored.err then named(names, name, px) end
if owner ~= '' then
  redis.call('DEL', lease)
  redis.pcall('PUBLISH', lease, '')
end
if stored.err then return stored end
return 1
"""
RELEASE = f"""{_OWNERS}
local lease, owner = KEYS[1], ARGV[1]
local given, list = owners(lease)
if not list then
  redis.pcall('PUBLISH', lease, '')
elseif list == '\\n' .. owner then
  redis.call('DEL', lease)
  redis.pcall('PUBLISH', lease, '')
else
  local from, to = owns(list, owner)
  if from then
    list = string.sub(list, 1, from - 1) .. string.sub(list, to)
    redis.call('SET', lease, string.format('%.0f', given) .. list, 'KEEPTTL')
  end
end
"""
LEFT = f"""{_OWNERS}
return owners(KEYS[1]) and redis.call('PTTL', KEYS[1]) or -1
"""
# A key that is not a string, or too long to be a value of ours, counts as missing; the next put replaces it.
GET = """
if redis.call('TYPE', KEYS[1]).ok ~= 'string' or redis.call('STRLEN', KEYS[1]) > tonumber(ARGV[1]) then
  return false
end
return redis.call('GET', KEYS[1])
"""
NAMES = f"""{_NOW}
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then return {{}} end
return redis.call('ZRANGEBYSCORE', KEYS[1], now(), '+inf')
"""
DELETE = """
local named = redis.call('TYPE', KEYS[1]).ok == 'zset'
for number, name in ipairs(ARGV) do
  local lease, value = KEYS[2 * number], KEYS[2 * number + 1]
  redis.call('DEL', lease, value)
  if named then redis.call('ZREM', KEYS[1], name) end
  redis.pcall('PUBLISH', lease, '')
end
"""
