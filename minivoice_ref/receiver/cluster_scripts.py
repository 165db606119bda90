"""What Redis does for the cluster in one step each, in its own language (Lua).

Redis runs a script from its beginning to its end and nothing in between, so what two nodes want at
once one of them gets. `KEYS[1]` is the prefix of all our keys; its braces put them into one slot,
so that in a Redis Cluster they lie together, which lets a script reach all of them:

    {name}:events      stream; the accepted events that are not handled yet, one consumer group
    {name}:dead        stream; the events that were set aside, the oldest trimmed away
    {name}:seen:…      one an event, by its key's digest, as long as duplicates are known
    {name}:later       sorted set; events that were read and wait: for their time, or for their call
    {name}:busy        hash; call -> the event that is being handled, by which node, its claim
    {name}:tries       hash; event -> how often it was tried
    {name}:ended:…     one a call that has ended: its status
    {name}:nodes       set; the names of nodes. {name}:node:… is there as long as the node lives
    {name}:live:…      hash, one a node; its streams. {name}:of:… who has streams of a call or token
    {name}:opened:…    one a token: how many streams it has opened

An entry of the events' stream leaves it only when it was handled or set aside: trimming the stream
could lose what was acknowledged. What bounds it is `limits.backlog`, beyond which nothing is
accepted. Time is Redis's own, so the nodes' clocks need not agree.

A claim is the number that a node gave a TAKE of its own. Redis may do what a node sent it long
after the node has given up waiting, and then the event is the node's without its knowing. So each
node says now and then which claims it has in hand; what it has under an older one is free again.

This module is text. Read next: `cluster.py`.
"""

from __future__ import annotations

__all__ = ["ACCEPT", "BEAT", "ENTER", "FINISH", "GIVE_UP", "LEAVE", "PARK", "RECLAIM", "STREAMS"]
__all__ += ["TAKE"]

_COMMON = """
local P = KEYS[1]
local EVENTS, LATER, BUSY, TRIES = P .. ':events', P .. ':later', P .. ':busy', P .. ':tries'
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local function is_alive(node) return redis.call('EXISTS', P .. ':node:' .. node) == 1 end
local function is_busy(call)
  local found = redis.call('HGET', BUSY, call)
  return found and is_alive(string.match(found, ' (%S+)'))
end
local function park(id, call, due) redis.call('ZADD', LATER, due, id .. ' ' .. call) end
local function free(me, is_lost)
  local busy, freed = redis.call('HGETALL', BUSY), 0
  for i = 1, #busy, 2 do
    local id, node, claim = string.match(busy[i + 1], '^(%S+) (%S+) (%S+)$')
    if node == me and is_lost(claim) then
      redis.call('HDEL', BUSY, busy[i])
      park(id, busy[i], now)
      freed = freed + 1
    end
  end
  return freed
end
local function field(fields, name)
  for i = 1, #fields, 2 do if fields[i] == name then return fields[i + 1] end end
end
"""

#: ARGV: digest of the key, call, event, body, ms to remember, most events, replicas to wait for,
#: status of a call's end or '', ms to remember that. -> 1 new, 0 duplicate, -1 full
ACCEPT = _COMMON + """
local seen = P .. ':seen:' .. ARGV[1]
local new = redis.call('EXISTS', seen) == 0
if new then
  if redis.call('XLEN', EVENTS) >= tonumber(ARGV[6]) then return -1 end
  redis.call('XADD', EVENTS, '*', 'call', ARGV[2], 'event', ARGV[3], 'body', ARGV[4])
  redis.call('SET', seen, '1', 'PX', ARGV[5])
elseif tonumber(ARGV[7]) > 0 then
  redis.call('PEXPIRE', seen, ARGV[5])  -- WAIT waits for what this connection has written
end
if ARGV[8] ~= '' then
  redis.call('SET', P .. ':ended:' .. ARGV[2], ARGV[8], 'PX', ARGV[9])
  redis.call('PUBLISH', P .. ':ended', cjson.encode({ARGV[2], ARGV[8]}))
end
return new and 1 or 0
"""

#: ARGV: node, claim. -> {id, call, event, body, attempt}; or seconds until one is due, or -1
TAKE = _COMMON + """
local me = ARGV[1]
local function begin(id, call, fields)
  redis.call('HSET', BUSY, call, id .. ' ' .. me .. ' ' .. ARGV[2])
  local attempt = redis.call('HINCRBY', TRIES, id, 1)
  return {id, call, field(fields, 'event'), field(fields, 'body'), attempt}
end
local offset = 0
while true do
  local due = redis.call('ZRANGEBYSCORE', LATER, '-inf', now, 'LIMIT', offset, 100)
  for _, member in ipairs(due) do
    local id, call = string.match(member, '^(%S+) (.*)$')
    if not is_busy(call) then
      redis.call('ZREM', LATER, member)
      local entry = redis.call('XCLAIM', EVENTS, 'workers', me, 0, id)[1]
      if entry then return begin(id, call, entry[2]) end
    end
  end
  if #due < 100 then break end
  offset = offset + 100
end
while true do
  local read = redis.pcall('XREADGROUP', 'GROUP', 'workers', me, 'COUNT', 1, 'STREAMS', EVENTS, '>')
  if not read or read.err then break end
  local entry = read[1][2][1]
  local call = field(entry[2], 'call')
  if not is_busy(call) then return begin(entry[1], call, entry[2]) end
  park(entry[1], call, now)
end
local next = redis.call('ZRANGEBYSCORE', LATER, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return next[2] and tostring(math.max(tonumber(next[2]) - now, 0.001)) or '-1'
"""

#: ARGV: id, call. An event that was read is put where every node finds it.
PARK = _COMMON + "park(ARGV[1], ARGV[2], now)"

#: ARGV: node, id, call, what, seconds to wait or -, error, most dead letters, claim.
#: *what* is handled, failed or dead.
FINISH = _COMMON + """
local id, call, what = ARGV[2], ARGV[3], ARGV[4]
local ours = redis.call('HGET', BUSY, call) == id .. ' ' .. ARGV[1] .. ' ' .. ARGV[8]
if ours then redis.call('HDEL', BUSY, call) end
if what == 'failed' then
  if ours then park(id, call, now + tonumber(ARGV[5])) end
  return
end
if what == 'dead' then
  local entry = redis.call('XRANGE', EVENTS, id, id)[1]
  if not ours or not entry then return end
  local tries = redis.call('HGET', TRIES, id)
  redis.call('XADD', P .. ':dead', 'MAXLEN', '~', ARGV[7], '*', 'id', id, 'tries', tries,
    'error', ARGV[6], unpack(entry[2]))
end
redis.call('XACK', EVENTS, 'workers', id)
redis.call('XDEL', EVENTS, id)
redis.call('HDEL', TRIES, id)
redis.call('ZREM', LATER, id .. ' ' .. call)
"""

#: ARGV: node, ms that it lives without another beat, how it is (JSON).
#: -> how many events are due, how many of its streams are known, then name and JSON of each other
BEAT = _COMMON + """
local me = ARGV[1]
redis.pcall('XGROUP', 'CREATE', EVENTS, 'workers', '0', 'MKSTREAM')
redis.call('SET', P .. ':node:' .. me, ARGV[3], 'PX', ARGV[2])
redis.call('SADD', P .. ':nodes', me)
redis.call('PEXPIRE', P .. ':live:' .. me, ARGV[2])
local said = {redis.call('ZCOUNT', LATER, '-inf', now), redis.call('HLEN', P .. ':live:' .. me)}
for _, node in ipairs(redis.call('SMEMBERS', P .. ':nodes')) do
  local told = redis.call('GET', P .. ':node:' .. node)
  if not told then
    redis.call('SREM', P .. ':nodes', node)
  elseif node ~= me then
    said[#said + 1] = node
    said[#said + 1] = told
  end
end
return said
"""

#: ARGV: node, ms of silence, its last claim, those that it has in hand. Puts what dead nodes left,
#: and what this one does not know that it has, where every node finds it. -> how many
RECLAIM = _COMMON + """
local in_hand = {}
for i = 4, #ARGV do in_hand[ARGV[i]] = true end
local found, cursor = free(ARGV[1], function(claim)
  return not in_hand[claim] and tonumber(claim) <= tonumber(ARGV[3])
end), '0-0'
repeat
  local page = redis.pcall('XAUTOCLAIM', EVENTS, 'workers', ARGV[1], ARGV[2], cursor, 'COUNT', 100)
  if page.err then break end
  cursor = page[1]
  for _, entry in ipairs(page[2]) do
    local call = field(entry[2], 'call')
    local busy = redis.call('HGET', BUSY, call)
    local with_it = busy and string.match(busy, '^%S+') == entry[1]
    local parked = redis.call('ZSCORE', LATER, entry[1] .. ' ' .. call)
    if not parked and not (with_it and is_busy(call)) then
      park(entry[1], call, now)
      found = found + 1
    end
  end
until cursor == '0-0'
for _, consumer in ipairs(redis.pcall('XINFO', 'CONSUMERS', EVENTS, 'workers')) do
  if type(consumer) == 'table' then
    local name = field(consumer, 'name')
    if field(consumer, 'pending') == 0 and not is_alive(name) then
      redis.call('XGROUP', 'DELCONSUMER', EVENTS, 'workers', name)
    end
  end
end
return found
"""

#: ARGV: node. It ends in good order: what it was handling is free, and it is not alive any more.
GIVE_UP = _COMMON + """
local me = ARGV[1]
for _, stream in ipairs(redis.call('HVALS', P .. ':live:' .. me)) do
  local told = cjson.decode(stream)
  for _, whose in ipairs({told[2], told[3]}) do
    if whose ~= '' then redis.call('SREM', P .. ':of:' .. whose, me .. ' ' .. told[1]) end
  end
end
redis.call('DEL', P .. ':node:' .. me, P .. ':live:' .. me)
redis.call('SREM', P .. ':nodes', me)
free(me, function() return true end)
"""

#: ARGV: node, stream, subject, digest of the token, the whole as JSON, most of a call, most of a
#: token, ms that a node lives, ms that a stream lasts at most. -> opened so far; or the limit
ENTER = _COMMON + """
local member, live = ARGV[1] .. ' ' .. ARGV[2], P .. ':live:' .. ARGV[1]
local again = redis.call('HEXISTS', live, ARGV[2]) == 1
local function living(whose)
  local count = 0
  for _, other in ipairs(redis.call('SMEMBERS', P .. ':of:' .. whose)) do
    if other == member or not is_alive(string.match(other, '^%S+')) then
      redis.call('SREM', P .. ':of:' .. whose, other)
    else
      count = count + 1
    end
  end
  return count
end
for i, limit in ipairs({'streams_per_call', 'streams_per_token'}) do
  if ARGV[2 + i] ~= '' and living(ARGV[2 + i]) >= tonumber(ARGV[5 + i]) then return limit end
end
for i = 3, 4 do
  if ARGV[i] ~= '' then
    redis.call('SADD', P .. ':of:' .. ARGV[i], member)
    redis.call('PEXPIRE', P .. ':of:' .. ARGV[i], ARGV[9])
  end
end
redis.call('HSET', live, ARGV[2], ARGV[5])
redis.call('PEXPIRE', live, ARGV[8])
if ARGV[4] == '' or again then return 1 end
local opened = redis.call('INCR', P .. ':opened:' .. ARGV[4])
redis.call('PEXPIRE', P .. ':opened:' .. ARGV[4], ARGV[9])
return opened
"""

#: ARGV: node, stream, subject, digest of the token.
LEAVE = _COMMON + """
for i = 3, 4 do
  if ARGV[i] ~= '' then
    redis.call('SREM', P .. ':of:' .. ARGV[i], ARGV[1] .. ' ' .. ARGV[2])
  end
end
redis.call('HDEL', P .. ':live:' .. ARGV[1], ARGV[2])
"""

#: -> name of the node and JSON, of every live stream of every living node
STREAMS = _COMMON + """
local all = {}
for _, node in ipairs(redis.call('SMEMBERS', P .. ':nodes')) do
  if is_alive(node) then
    for _, stream in ipairs(redis.call('HVALS', P .. ':live:' .. node)) do
      all[#all + 1] = node
      all[#all + 1] = stream
    end
  end
end
return all
"""
