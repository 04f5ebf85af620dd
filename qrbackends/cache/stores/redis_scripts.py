"""The Lua scripts of `RedisStore`, each of which Redis runs as one atomic operation.

They are sent with every call: they are short, and so a server that was restarted needs no special care.
"""

# Returns the owner of a lease, or false. A key that is no string, or never expires, is no lease of ours.
_HOLDER = """
local function holder(key)
  if redis.call('TYPE', key).ok ~= 'string' or redis.call('PTTL', key) < 0 then return false end
  return redis.call('GET', key)
end
"""
# Adds a name to the sorted set of names, until its value or its lease has ended, whichever is later. Removes
# the names that have ended.
_NAMED = """
local function named(key, name, px)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', key) end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('(%.0f', now))
  local ends = math.max(now + px, tonumber(redis.call('ZSCORE', key, name) or 0))
  redis.call('ZADD', key, string.format('%.0f', ends), name)
  if redis.call('PTTL', key) < px then redis.call('PEXPIRE', key, px) end
end
"""
ACQUIRE = f"""{_HOLDER}{_NAMED}
local lease, names, owner, px, name, force = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local held = holder(lease)
if held and held ~= owner and force == '0' then return 0 end
redis.call('SET', lease, owner, 'PX', px)
named(names, name, px)
return 1
"""
RENEW = f"""{_HOLDER}{_NAMED}
local lease, names, owner, px, name = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), ARGV[3]
if holder(lease) ~= owner then return 0 end
redis.call('PEXPIRE', lease, px)
named(names, name, px)
return 1
"""
# The lease ends even if there is no room for the value: nobody has to wait for a value that does not come.
# An empty owner stands for none.
PUT = f"""{_HOLDER}{_NAMED}
local lease, names, value = KEYS[1], KEYS[2], KEYS[3]
local owner, px, name = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if owner ~= '' and holder(lease) ~= owner then return 0 end
local stored = redis.pcall('SET', value, ARGV[4], 'PX', px)
if not stored.err then named(names, name, px) end
if owner ~= '' then
  redis.call('DEL', lease)
  redis.pcall('PUBLISH', lease, '')
end
if stored.err then return stored end
return 1
"""
RELEASE = f"""{_HOLDER}
if holder(KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.pcall('PUBLISH', KEYS[1], '')
end
"""
LEFT = f"""{_HOLDER}
return holder(KEYS[1]) and redis.call('PTTL', KEYS[1]) or -1
"""
# A key that is not a string, or too long to be a value of ours, counts as missing; the next put replaces it.
GET = """
if redis.call('TYPE', KEYS[1]).ok ~= 'string' or redis.call('STRLEN', KEYS[1]) > tonumber(ARGV[1]) then
  return false
end
return redis.call('GET', KEYS[1])
"""
NAMES = """
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then return {} end
local time = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), '+inf')
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
