-- Appends one batch of events to a thread's log and publishes it, fenced and exactly once.
--
-- KEYS: the stream; the fence hash {token, epoch, seq, closed, bytes, count}; how many events the thread has had.
-- ARGV: token ('' for events that belong to no run), seq of the first event, seq of the last event, payload,
--       max length, channel, closes (1|0), seconds to keep the log after a close, opens (1|0), seconds to
--       keep it while an attempt may still be writing, max bytes, seconds to remember how many events the thread has had
--       (0: not beyond the log).
-- Answers: "<epoch> <count>" appended, after so many events of the thread; "dup" already there; "seen <seq>" the first part, up to there, is already there, and
-- nothing has been appended; "fenced" a newer attempt (or the end) has been; "unopened" the
-- attempt has not opened the log: it is over and its fence has expired, or Redis has lost what it knew.
--
-- Event ids are <epoch>-<seq>. The epoch is the millisecond at which the attempt wrote first, pushed beyond
-- the newest id of the log, so ids grow strictly, whatever clocks do. Repeating a batch is harmless: what an
-- attempt has written is remembered by its seq, not by its ids.
local token, last = tonumber(ARGV[1]), tonumber(ARGV[3])
local fence = redis.call('HMGET', KEYS[2], 'token', 'epoch', 'seq', 'closed')
local current, epoch = tonumber(fence[1] or '-1'), fence[2]

local function next_epoch()
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  if newest[1] then
    now = math.max(now, tonumber(string.match(newest[1][1], '^(%d+)')) + 1)
  end
  return string.format('%.0f', now)
end

if ARGV[1] == '' then
  epoch = next_epoch()
  -- An attempt that is writing goes on after this event.
  if fence[1] then redis.call('HSET', KEYS[2], 'epoch', epoch) end
else
  if current > token then return 'fenced' end
  if current == token then
    if tonumber(fence[3]) >= last then return 'dup' end
    if fence[4] == '1' then return 'fenced' end
    if tonumber(fence[3]) >= tonumber(ARGV[2]) then return 'seen ' .. fence[3] end
  else
    if ARGV[9] == '0' then return 'unopened' end
    epoch = next_epoch()
  end
  redis.call('HSET', KEYS[2], 'token', ARGV[1], 'epoch', epoch, 'seq', ARGV[3], 'closed', ARGV[7])
end
-- Every event of a thread has a number, counted from 1. Clients that ask for what comes after a number need the count to
-- outlive the log.
local count = redis.call('HGET', KEYS[2], 'count') or redis.call('GET', KEYS[3]) or '0'
local counted = string.format('%.0f', tonumber(count) + last - tonumber(ARGV[2]) + 1)
redis.call('HSET', KEYS[2], 'count', counted)
if ARGV[12] ~= '0' then
  redis.call('SET', KEYS[3], counted, 'EX', ARGV[12])
else
  redis.call('SET', KEYS[3], counted, 'XX', 'KEEPTTL')
end
local message = epoch .. ' ' .. ARGV[2] .. ' ' .. count .. ' ' .. ARGV[4]
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[5], epoch .. '-' .. ARGV[3], 'm', message)
-- A log that is too large loses its older half. What a trim by length takes is not counted, so `bytes` is an upper bound.
local bytes = redis.call('HINCRBY', KEYS[2], 'bytes', #message)
if bytes > tonumber(ARGV[11]) then
  local length = redis.call('XLEN', KEYS[1])
  local kept = math.max(1, math.floor(length / 2))
  redis.call('XTRIM', KEYS[1], 'MAXLEN', kept)
  redis.call('HSET', KEYS[2], 'bytes', string.format('%.0f', bytes * kept / length))
end
-- Every log expires, also one whose close got lost.
local keep = ARGV[8]
if ARGV[7] == '0' and (ARGV[1] ~= '' or fence[4] == '0') then keep = ARGV[10] end
redis.call('EXPIRE', KEYS[1], keep)
redis.call('EXPIRE', KEYS[2], keep)
redis.call('PUBLISH', ARGV[6], message)
return epoch .. ' ' .. count
