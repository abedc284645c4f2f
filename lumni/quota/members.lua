-- Which processes share the pools, and what each of them may take on its own should Redis go; comes after store.lua.
-- docs/adr/0004-redis-gone-in-mid-flight.md says why. For a member the last of KEYS is the control hash: epoch, run (the
-- server's), opens (when the epoch may be used), seq (of the last notice), barrier (the notice that all must have read
-- first), j:<member> (notice of its joining), p:<member> (its last push). In control:beats, :seen, :applied, :order are
-- the members by last beat, last word, last notice read, and order of joining; control:board has the pools that notices
-- are about.

local control = request.member and KEYS[#KEYS]
local FULL = 60
local clock = now
if request.now then
  local time = redis.call('TIME')
  clock = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function run()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
end

local function least(set)
  return tonumber(redis.call('ZRANGE', control .. set, 0, 0, 'WITHSCORES')[2] or 0)
end

local function least_read()
  shared.read = shared.read or least(':applied')
  return shared.read
end

local function notice()
  return redis.call('HINCRBY', control, 'seq', 1)
end

local function post(pool)
  local seq = notice()
  redis.call('ZADD', control .. ':board', seq, pool.key)
  shared.posted = true
  return seq
end

-- Why members may not draw on the common state now; nil if they may.
function shared.status()
  local state = redis.call('HMGET', control, 'opens', 'barrier')
  if not redis.call('ZSCORE', control .. ':applied', request.member) then return 'left' end
  local members = redis.call('ZCARD', control .. ':beats')
  if members > 1 and least(':beats') < clock - request.patience then return 'missing' end
  if tonumber(state[1]) > clock or members > redis.call('ZCARD', control .. ':applied') then return 'gathering' end
  if tonumber(state[2]) > least_read() then return 'gathering' end
  return nil
end

local function lost()
  local state = redis.call('HMGET', control, 'epoch', 'run')
  return state[1] ~= request.epoch or state[2] ~= run()
end

-- What may be used of a limit before all members must hear of it: the rest is theirs, should Redis go.
local function ceiling(limit, level)
  return limit - math.floor(limit / 2 ^ level)
end

local function level_for(limit, total)
  local level = 1
  while level < FULL and total > ceiling(limit, level) do level = limit >= 2 ^ (level + 1) and level + 1 or FULL end
  return level
end

local function raise(pool, w, level, before)
  set(pool, 'p' .. w.key, before)
  set(pool, 'h' .. w.key, level)
  set(pool, 'q' .. w.key, post(pool))
end

local function agreed(pool, w, n)
  local limit = limit_of(pool, w)
  if not limit or n <= 0 then return true end
  local fields, total = pool.fields, used(pool, w) + reserved(pool, w) + n
  local level = fields['h' .. w.key] or 1
  local effective = level
  if level > 1 and fields['q' .. w.key] > least_read() then effective = fields['p' .. w.key] end
  if total <= ceiling(limit, effective) then
    if effective > 1 and effective == level and total * 4 <= limit then raise(pool, w, 1, 1) end
    return true
  end
  if total > ceiling(limit, level) then raise(pool, w, level_for(limit, total), effective) end
  return false
end

-- Whether every member knows that a draw that fits may be taken; if not, they are asked to take note.
function shared.agreed(draw, pools)
  local all = true
  for _, i in ipairs(draw.pools) do
    for _, w in ipairs(pools[i].windows) do
      if not agreed(pools[i], w, amount(draw.need, w.letter)) then all = false end
    end
  end
  return all
end

-- What others should know at once: limits that were learned, and what a provider closed.
function shared.spread(pool)
  for field in pairs(pool.changed) do
    local first = string.sub(field, 1, 1)
    if first == 'l' or first == 'b' then
      post(pool)
      return
    end
  end
end

-- A pool as another epoch left it is nothing: what is known of it comes back from the members.
function shared.renew(pool, spec)
  local epoch = tonumber(request.epoch)
  if pool.fields.g == epoch then return end
  redis.call('DEL', pool.key, pool.key .. ':held', pool.key .. ':air')
  for _, row in ipairs(spec) do redis.call('DEL', pool.key .. ':' .. row[1]) end
  for field in pairs(pool.fields) do
    if string.sub(field, 1, 1) == 'u' then redis.call('DEL', pool.key .. ':' .. string.sub(field, 2)) end
  end
  pool.fields = {}
  set(pool, 'g', epoch)
end

local function forget_member(member)
  for _, name in ipairs({':beats', ':seen', ':applied', ':order'}) do redis.call('ZREM', control .. name, member) end
  redis.call('HDEL', control, 'j:' .. member, 'p:' .. member)
  notice()
end

-- The epoch as it is, or a new one if what is here is not what was left here.
local function epoch()
  local known = redis.call('HMGET', control, 'epoch', 'run')
  if known[1] and known[2] == run() then return known[1] end
  for _, name in ipairs({'', ':beats', ':seen', ':applied', ':order', ':board'}) do redis.call('DEL', control .. name) end
  local opens = clock + request.settling
  redis.call('HSET', control, 'epoch', request.token, 'run', run(), 'opens', opens, 'seq', 1, 'barrier', 0)
  return request.token
end

local function expect(view)
  if tonumber(redis.call('HGET', control, 'opens')) <= clock then return end
  for _, other in ipairs(view) do
    if redis.call('ZADD', control .. ':beats', 'NX', clock, other[1]) == 1 then
      redis.call('ZADD', control .. ':seen', 'NX', clock, other[1])
      redis.call('ZADD', control .. ':order', other[2], other[1])
      notice()
    end
  end
end

local function join()
  local me = request.member
  if not redis.call('ZSCORE', control .. ':order', me) then
    local last = tonumber(redis.call('ZRANGE', control .. ':order', -1, -1, 'WITHSCORES')[2] or 0)
    redis.call('ZADD', control .. ':order', request.order > last and request.order or last + 1, me)
    redis.call('HSET', control, 'j:' .. me, notice())
    shared.posted = true
  end
  redis.call('ZADD', control .. ':beats', clock, me)
end

local function notices(after)
  local flat, rows = redis.call('ZRANGEBYSCORE', control .. ':board', '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, 200), {}
  for i = 1, #flat, 2 do rows[#rows + 1] = {flat[i], redis.call('HGETALL', flat[i])} end
  local head = #flat == 400 and flat[400] or redis.call('HGET', control, 'seq')
  return rows, tonumber(head)
end

-- A member's sign of life. With `beat` it vouches that all it did is in here; without, it only looks.
function operations.sync()
  local me, current = request.member, epoch()
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', control .. ':seen', '-inf', clock - request.burial)) do
    if member ~= me then forget_member(member) end
  end
  expect(request.view)
  if current == request.epoch and request.beat == 1 then
    join()
    redis.call('ZADD', control .. ':applied', request.applied, me)
  end
  if current == request.epoch or redis.call('ZSCORE', control .. ':beats', me) then
    redis.call('ZADD', control .. ':seen', clock, me)
  end
  local status = 'lost'
  if current == request.epoch then status = shared.status() or '' end
  local rows, head = notices(current == request.epoch and request.applied or 0)
  local order = redis.call('ZRANGE', control .. ':order', 0, -1, 'WITHSCORES')
  local absent = redis.call('ZCOUNT', control .. ':seen', '-inf', clock - request.patience)
  for _, name in ipairs({'', ':beats', ':seen', ':applied', ':order', ':board'}) do
    redis.call('PEXPIRE', control .. name, KEEP)
  end
  local entitled = tonumber(redis.call('HGET', control, 'j:' .. me) or 1e15) <= least(':applied') and 1 or 0
  return {clock, current, status, head, entitled, absent, order, rows}
end

function operations.leave()
  forget_member(request.member)
  return 1
end

local function regain(pool, row)
  local at, need = row[2], {row[4], row[5], row[6]}
  local name = member(row[1], at, need)
  if redis.call('ZSCORE', pool.key .. ':held', name) then return end
  hold(pool, name, at, row[3], need)
  if row[7] == 1 then
    redis.call('ZREM', pool.key .. ':air', name)
    landed(pool, need[1])
  end
end

-- A reservation that ended while we were out of reach: it counts once, here or when its lease ended.
local function close(pool, row)
  local need, actual = {row[3], row[4], row[5]}, {row[6], row[7], row[8]}
  finish(pool, row[1], row[2], need, actual, math.min(now, row[9]), math.min(now, row[10]))
end

local function restore(pool, row)
  for key, limit in pairs(row.limits) do
    if not pool.known[key] then
      pool.known[key] = learned_window(pool, key)
      pool.windows[#pool.windows + 1] = pool.known[key]
    end
    if not pool.fields['l' .. key] then set(pool, 'l' .. key, limit) end
  end
  for key, ends in pairs(row.blocks) do set(pool, 'b' .. key, math.max(pool.fields['b' .. key] or 0, ends)) end
  for _, w in ipairs(pool.windows) do
    for _, entry in ipairs(row.logs[w.key] or {}) do charge(pool, w, entry[2], math.min(entry[1], now)) end
  end
  for _, ended in ipairs(row.ends) do close(pool, ended) end
  for _, held in ipairs(row.holds) do regain(pool, held) end
  for _, w in ipairs(pool.windows) do
    forget(pool, w)
    local limit, level = limit_of(pool, w), pool.fields['h' .. w.key] or 1
    local total = used(pool, w) + reserved(pool, w)
    if limit and total > ceiling(limit, level) then
      local needed = level_for(limit, total)
      raise(pool, w, needed, needed)
    end
  end
end

-- What a member did without us, or, in a new epoch, all it knows. A repeated push does nothing.
function operations.push(pools)
  local field = 'p:' .. request.member
  if redis.call('HGET', control, field) == request.number then return {1} end
  for i, row in ipairs(request.rows) do
    pools[i] = load(i)
    restore(pools[i], row)
  end
  redis.call('HSET', control, field, request.number)
  return {1}
end

local pools = {}
if request.member and ARGV[1] ~= 'sync' and lost() then return -1 end
local reply = operations[ARGV[1]](pools)
for _, pool in pairs(pools) do
  if next(pool.changed) then
    if request.member then shared.spread(pool) end
    keep(pool)
    save(pool)
  end
end
if shared.posted then
  if ARGV[1] == 'push' then redis.call('HSET', control, 'barrier', redis.call('HGET', control, 'seq')) end
  redis.call('PUBLISH', control, '')
end
return reply
