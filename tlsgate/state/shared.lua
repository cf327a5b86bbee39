-- All that replicas ask of the shared state, many calls at once. Each run is one step to everybody else.
--
-- ARGV[1], as msgpack: [replica, incarnation, begins, lease in ms, hash key, [key, count, ...], [call, ...]]
-- Answer: [0] when this incarnation is not (or no longer) the one that counts: nothing was done then;
-- else [1, version of the bans, hash key, answer to each call ...].
--
-- A replica's counts are fields of its incarnation's name. They count as long as the replica's key is there and names
-- that incarnation; whoever meets others removes them. So a replica that died or was cut off counts no more when its
-- key has expired, one that comes back begins a new incarnation and says all its counts again, and whatever an older
-- incarnation had sent that arrives late is not done.

local PREFIX = 'tlsgate:'
local FORGET = 3600000 -- ms; replicas say each count again far more often
local BANS, CHANGES, ENDS, VERSION = PREFIX .. 'bans', PREFIX .. 'bans:changes', PREFIX .. 'bans:ends', PREFIX .. 'bans:version'
local REMEMBERED, LATEST, MOST_BANS, PAGE = 86400, 1e11, 100000, 1000

local request = cmsgpack.unpack(ARGV[1])
local replica, incarnation, lease = PREFIX .. 'replica:' .. request[1], request[2], request[4]
local me = request[1] .. '.' .. incarnation
local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])

-- places ---------------------------------------------------------------------------------------------------------

local known = {[me] = true}

local function counts(field)
  if known[field] == nil then
    local name, number = string.match(field, '^(%w+)%.(%d+)$')
    known[field] = name ~= nil and redis.call('GET', PREFIX .. 'replica:' .. name) == number
  end
  return known[field]
end

local function used(key)
  local fields, sum = redis.call('HGETALL', key), 0
  for i = 1, #fields, 2 do
    if counts(fields[i]) then
      sum = sum + tonumber(fields[i + 1])
    else
      redis.call('HDEL', key, fields[i])
    end
  end
  return sum
end

local function set(key, count)
  if count == 0 then
    redis.call('HDEL', key, me)
  else
    redis.call('HSET', key, me, count)
    redis.call('PEXPIRE', key, FORGET)
  end
end

-- Each call's answer is a number, a string or a list; false is nothing.
local calls = {}

-- [key, limit, ...] -> 0, or which of them is full
function calls.enter(call)
  for i = 2, #call, 2 do
    if used(PREFIX .. 'place:' .. call[i]) >= call[i + 1] then
      return i / 2
    end
  end
  for i = 2, #call, 2 do
    local key = PREFIX .. 'place:' .. call[i]
    redis.call('HINCRBY', key, me, 1)
    redis.call('PEXPIRE', key, FORGET)
  end
  return 0
end

-- key, count, window in ms, amount -> 1 or 0. The list holds when each was spent, in us.
function calls.spend(call)
  local key, count, window, amount = PREFIX .. 'rate:' .. call[2], call[3], call[4], call[5]
  local since, first = micros - window * 1000, redis.call('LINDEX', key, 0)
  while first and tonumber(first) <= since do
    redis.call('LPOP', key)
    first = redis.call('LINDEX', key, 0)
  end
  if redis.call('LLEN', key) + amount > count then
    return 0
  end
  local now = string.format('%.0f', micros)
  for _ = 1, amount do
    redis.call('RPUSH', key, now)
  end
  redis.call('PEXPIRE', key, window)
  return 1
end

-- key -> record
function calls.read(call)
  return redis.call('GET', PREFIX .. 'record:' .. call[2])
end

-- key, old or nil, new or nil, ms -> 1 or 0
function calls.swap(call)
  local key, old, new = PREFIX .. 'record:' .. call[2], call[3], call[4]
  if redis.call('GET', key) ~= (old or false) then
    return 0
  end
  if new then
    redis.call('SET', key, new, 'PX', call[5])
  else
    redis.call('DEL', key)
  end
  return 1
end

-- bans: [network, since, until, count, reason, lifted]; of one that was lifted, ``until`` is when ------------------

local function wins(new, old)
  if new[6] and not old[6] then
    return old[2] <= new[3]
  end
  if old[6] and not new[6] then
    return new[2] > old[3]
  end
  return new[3] > old[3]
end

local function put(ban)
  local new, stored = cmsgpack.unpack(ban), nil
  stored = redis.call('HGET', BANS, new[1])
  if stored and not wins(new, cmsgpack.unpack(stored)) then
    return stored
  end
  redis.call('HSET', BANS, new[1], ban)
  redis.call('ZADD', CHANGES, redis.call('INCR', VERSION), new[1])
  redis.call('ZADD', ENDS, new[3] + REMEMBERED, new[1])
end

local function forget()
  for _ = 1, PAGE do
    local first = redis.call('ZRANGE', ENDS, 0, 0, 'WITHSCORES')
    if not first[1] or (tonumber(first[2]) > micros / 1000000 and redis.call('ZCARD', ENDS) <= MOST_BANS) then
      break
    end
    redis.call('ZREM', ENDS, first[1])
    redis.call('ZREM', CHANGES, first[1])
    redis.call('HDEL', BANS, first[1])
  end
  local last = redis.call('ZRANGE', ENDS, -1, -1, 'WITHSCORES')
  if last[1] then
    for _, key in ipairs({BANS, CHANGES, ENDS}) do
      redis.call('EXPIREAT', key, string.format('%.0f', math.min(tonumber(last[2]), LATEST)))
    end
  end
end

local function version()
  return tonumber(redis.call('GET', VERSION) or 0)
end

-- version that is known, bans to put -> version that is known now, bans that won over those, bans that are newer
function calls.bans(call)
  local answer = {0}
  for _, ban in ipairs(call[3]) do
    answer[#answer + 1] = put(ban)
  end
  if #call[3] > 0 then
    forget()
  end
  local newer = redis.call('ZRANGEBYSCORE', CHANGES, '(' .. call[2], '+inf', 'WITHSCORES', 'LIMIT', 0, PAGE)
  for i = 1, #newer, 2 do
    answer[#answer + 1] = redis.call('HGET', BANS, newer[i]) or nil
  end
  answer[1] = #newer == PAGE * 2 and tonumber(newer[#newer]) or version()
  return answer
end

-- -----------------------------------------------------------------------------------------------------------------

local current, hash_key = tonumber(redis.call('GET', replica) or -1), ''
if request[3] then
  if current > incarnation then
    return {0}
  end
  redis.call('SET', PREFIX .. 'key', request[5], 'NX')
  hash_key = redis.call('GET', PREFIX .. 'key')
elseif current ~= incarnation then
  return {0}
end
redis.call('SET', replica, incarnation, 'PX', lease)
local sets = request[6]
for i = 1, #sets, 2 do
  set(PREFIX .. 'place:' .. sets[i], sets[i + 1])
end
local answer = {1, 0, hash_key}
for _, call in ipairs(request[7]) do
  answer[#answer + 1] = calls[call[1]](call)
end
answer[2] = version()
return answer
