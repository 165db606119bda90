"""What Redis does in one step with published audio, in its own language (Lua).

As with the scripts of the cluster (`cluster_scripts.py`), `KEYS[1]` is the prefix of all keys, and
a Redis Cluster has them in one slot:

    {name}:media                stream; one entry for each media stream that has begun
    {name}:media:STREAM         stream; its start, its audio, its end, the oldest trimmed away
    {name}:media:STREAM:GROUP   how far the consumers of a group have got with it

An entry of a media stream has the id MS-NUMBER: Redis's clock in milliseconds when it came, and
which entry of its stream it is, counted from 1. So what is sent again, since nobody knows whether
it had arrived, is known by its number and not added twice; and how long an entry lay there anybody
can tell by Redis's clock alone.

All keys expire: those of a stream some time after its last entry, the announcements when no stream
has been published for as long.

This module is text. Read next: `publisher.py`, which writes, and `follower.py`, which reads.
"""

from __future__ import annotations

__all__ = ["LET_GO", "PUBLISH", "RENEW", "TAKE_OVER"]

_COMMON = """
local MEDIA = KEYS[1] .. ':media'
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
"""

#: ARGV: most entries of a stream, ms that they are kept, most announcements; then for each stream:
#: its id, whether it is to begin, how many entries, and of each entry: number, how many fields and
#: values, these; or 0, and the values of plain audio without their names, which are most of all
#: that is sent. -> the ids of streams that had begun and are not there any more
PUBLISH = _COMMON + """
local most, kept = ARGV[1], ARGV[2]
local gone, at = {}, 4
while at <= #ARGV do
  local stream, begins, entries = ARGV[at], ARGV[at + 1] == '1', tonumber(ARGV[at + 2])
  local key = MEDIA .. ':' .. stream
  local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  local ms, number = 0, 0
  if last then
    ms, number = string.match(last[1], '^(%d+)-(%d+)$')
  elseif not begins then
    gone[#gone + 1] = stream
  end
  local id = math.max(now, tonumber(ms))  -- a clock that was set back makes no order
  number = tonumber(number)
  at = at + 3
  for i = 1, entries do
    local count = tonumber(ARGV[at + 1])
    if (last or begins) and tonumber(ARGV[at]) > number then
      local new = string.format('%.0f-', id) .. ARGV[at]
      if count == 0 then
        redis.call('XADD', key, 'MAXLEN', '~', most, new, 'what', 'audio', 'track', ARGV[at + 2],
          'position', ARGV[at + 3], 'payload', ARGV[at + 4])
      else
        redis.call('XADD', key, 'MAXLEN', '~', most, new, unpack(ARGV, at + 2, at + 1 + count))
      end
      if begins and i == 1 and not last then
        redis.call('XADD', MEDIA, 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, at + 2, at + 1 + count))
      end
    end
    at = at + 2 + (count == 0 and 3 or count)
  end
  redis.call('PEXPIRE', key, kept)
end
redis.call('PEXPIRE', MEDIA, kept)
return gone
"""

#: ARGV: group, consumer, ms of the lease, how many, where to go on looking, ms that keys are kept.
#: -> ms by Redis's clock, where to go on, then of each: id of the announcement, how far it was
#: followed, its fields
TAKE_OVER = _COMMON + """
local group, me, lease, cursor = ARGV[1], ARGV[2], ARGV[3], ARGV[5]
redis.pcall('XGROUP', 'CREATE', MEDIA, group, '0', 'MKSTREAM')
if redis.call('PTTL', MEDIA) < 0 then redis.call('PEXPIRE', MEDIA, ARGV[6]) end
local taken = {now, cursor}
local function take(entries)
  for _, entry in ipairs(entries) do
    local fields = entry and entry[2]
    if fields then
      local stream
      for i = 1, #fields, 2 do if fields[i] == 'stream' then stream = fields[i + 1] end end
      local key = MEDIA .. ':' .. (stream or '')
      if redis.call('EXISTS', key) == 1 then
        local from = redis.call('GET', key .. ':' .. group) or '0-0'
        taken[#taken + 1] = {entry[1], from, fields}
      else
        redis.call('XACK', MEDIA, group, entry[1])
      end
    end
  end
end
local left = redis.call('XAUTOCLAIM', MEDIA, group, me, lease, cursor, 'COUNT', ARGV[4])
taken[2] = left[1]
take(left[2])
local room = tonumber(ARGV[4]) - (#taken - 2)
if room > 0 then
  local read = redis.call('XREADGROUP', 'GROUP', group, me, 'COUNT', room, 'STREAMS', MEDIA, '>')
  if read then take(read[1][2]) end
end
return taken
"""

#: ARGV: group, consumer, ms that keys are kept; then of each stream: id of its announcement, its
#: own, how far it was followed. -> of each: 1 still ours, 0 another's, -1 not there any more
RENEW = _COMMON + """
local group, me, told = ARGV[1], ARGV[2], {}
for at = 4, #ARGV, 3 do
  local id, key = ARGV[at], MEDIA .. ':' .. ARGV[at + 1]
  local pending = redis.pcall('XPENDING', MEDIA, group, id, id, 1)
  local mine = not pending.err and pending[1] and pending[1][2] == me
  if redis.call('EXISTS', key) == 0 then
    told[#told + 1] = -1
  elseif mine then
    redis.call('XCLAIM', MEDIA, group, me, 0, id, 'JUSTID')
    redis.call('SET', key .. ':' .. group, ARGV[at + 2], 'PX', ARGV[3])
    told[#told + 1] = 1
  else
    told[#told + 1] = 0
  end
end
return told
"""

#: ARGV: group, consumer, 1 where it is done with them and 0 where others may go on at once; then of
#: each stream: id of its announcement, its own.
LET_GO = _COMMON + """
local group, me, done = ARGV[1], ARGV[2], ARGV[3] == '1'
for at = 4, #ARGV, 2 do
  local id = ARGV[at]
  local pending = redis.pcall('XPENDING', MEDIA, group, id, id, 1)
  if not pending.err and pending[1] and pending[1][2] == me then
    if done then
      redis.call('XACK', MEDIA, group, id)
      redis.call('DEL', MEDIA .. ':' .. ARGV[at + 1] .. ':' .. group)
    else
      redis.call('XCLAIM', MEDIA, group, me, 0, id, 'IDLE', 86400000, 'JUSTID')
    end
  end
end
"""
