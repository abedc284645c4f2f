-- All of RedisStore's steps; the meaning of each is in store.py and meter.py, which tests hold this to.
-- KEYS: one hash a pool; its reservations are in KEYS[i]:held, those whose requests may still be on their way in KEYS[i]:air
-- too, the log of a window in KEYS[i]:<window>, in the same slot.
-- ARGV: operation, request, then the windows of each pool (JSON, read only if needed). Times are milliseconds.
-- Fields of a pool: b blocked until, R I O amounts in flight, A requests of R that have landed (they are in the logs already),
-- x the soonest end of a lease, z the next landing, T when its keys were last told
-- to stay; and for each window: u<w> used, D<w> when something last left its log, o<w> oldest and n<w> newest in its log, b<w> blocked until, l<w> learned limit (-1: only seen), a<w> learned reset,
-- d<w> debt (amount times period) as of e<w>.

local FIXED, REFILLING = 1, 2
local KEEP, DAY = 70 * 86400 * 1000, 86400 * 1000
local POOL_BLOCK, WINDOW_BLOCK = 60000, 3600000
local TRANSIT, AT_ONCE = 5000, 1  -- as in model.py
local request = cjson.decode(ARGV[2])
local count = #KEYS - (request.member and 1 or 0)
local shared = {}  -- what members.lua adds for processes that must get by without Redis too
local now = request.now
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function amount(need, letter)
  if letter == 'r' then return need[1] end
  if letter == 't' then return need[2] + need[3] end
  return letter == 'i' and need[2] or need[3]
end

local function set(pool, field, value)
  if pool.fields[field] ~= value then
    pool.fields[field] = value
    pool.changed[field] = value
  end
end

local function save(pool)
  local pairs_ = {}
  for field, value in pairs(pool.changed) do
    pairs_[#pairs_ + 1] = field
    pairs_[#pairs_ + 1] = value
  end
  if #pairs_ > 0 then
    redis.call('HSET', pool.key, unpack(pairs_))
  end
end

-- Once a day for each pool that is in use: its keys outlive all of its windows, and go when nobody uses them any more.
local function keep(pool)
  if now - (pool.fields.T or 0) < DAY then return end
  set(pool, 'T', now)
  save(pool)
  redis.call('PEXPIRE', pool.key, KEEP)
  for _, name in ipairs({':held', ':air'}) do redis.call('PEXPIRE', pool.key .. name, KEEP) end
  for _, w in ipairs(pool.windows) do redis.call('PEXPIRE', pool.key .. ':' .. w.key, KEEP) end
end

local function drops_at(pool, w, stamp)
  if w.style ~= FIXED then return stamp + w.period end
  local resets = w.resets
  if #resets == 0 then
    local anchor = pool.fields['a' .. w.key] or w.anchor
    return anchor + math.ceil((stamp + w.guard + 1 - anchor) / w.period) * w.period + w.guard
  end
  for i = 1, #resets do
    if resets[i] > stamp + w.guard then return resets[i] + w.guard end
  end
  return resets[#resets] + w.period + w.guard
end

local function limit_of(pool, w)
  local learned = pool.fields['l' .. w.key]
  if not learned or learned < 0 then return w.limit end
  if w.limit and w.capped then return math.min(w.limit, learned) end
  return learned
end

local function refill(pool, w, at)
  if at <= w.debt_at then return end
  w.debt = math.max(0, w.debt - (at - w.debt_at) * (limit_of(pool, w) or 0))
  w.debt_at = at
end

local function save_debt(pool, w)
  set(pool, 'd' .. w.key, w.debt)
  set(pool, 'e' .. w.key, w.debt_at)
end

local function used(pool, w)
  if w.style == REFILLING then return math.ceil(w.debt / w.period) end
  return pool.fields['u' .. w.key] or 0
end

local function charge(pool, w, n, at)
  if n <= 0 then return end
  if w.style == REFILLING then
    refill(pool, w, at)
    w.debt = w.debt + n * w.period
    return save_debt(pool, w)
  end
  local stamp, log, sum = math.ceil(at / w.width) * w.width, pool.key .. ':' .. w.key, n
  local before, newest = used(pool, w), pool.fields['n' .. w.key] or 0
  if stamp <= newest then
    local same = redis.call('ZRANGEBYSCORE', log, stamp, stamp)[1]
    if same then
      sum = sum + tonumber(string.match(same, ':(%d+)$'))
      redis.call('ZREM', log, same)
    end
  end
  redis.call('ZADD', log, stamp, string.format('%.0f:%.0f', stamp, sum))
  if before == 0 then redis.call('PEXPIRE', log, KEEP) end
  if before == 0 or stamp < pool.fields['o' .. w.key] then set(pool, 'o' .. w.key, stamp) end
  set(pool, 'n' .. w.key, math.max(stamp, newest))
  set(pool, 'u' .. w.key, before + n)
end

-- Take back what was counted as used at `at`, as far as it is still there.
local function uncharge(pool, w, n, at)
  if n <= 0 then return end
  if w.style == REFILLING then
    w.debt = math.max(0, w.debt - n * w.period)
    return save_debt(pool, w)
  end
  local stamp, log = math.ceil(at / w.width) * w.width, pool.key .. ':' .. w.key
  local same = redis.call('ZRANGEBYSCORE', log, stamp, stamp)[1]
  if not same then return end
  local sum = tonumber(string.match(same, ':(%d+)$'))
  n = math.min(n, sum)
  redis.call('ZREM', log, same)
  if sum > n then redis.call('ZADD', log, stamp, string.format('%.0f:%.0f', stamp, sum - n)) end
  set(pool, 'u' .. w.key, used(pool, w) - n)
end

local function spend(pool, need, ago)
  for _, w in ipairs(pool.windows) do
    charge(pool, w, amount(need, w.letter), w.letter == 'r' and now - ago or now)
  end
end

local function fly(pool, need, sign)
  for i, field in ipairs({'R', 'I', 'O'}) do
    if need[i] ~= 0 then set(pool, field, (pool.fields[field] or 0) + sign * need[i]) end
  end
end

-- What is held of a window's limit.
local function reserved(pool, w)
  local f = pool.fields
  if w.lands then return (f.R or 0) - (f.A or 0) end
  return amount({f.R or 0, f.I or 0, f.O or 0}, w.letter)
end

-- Reservations in `name`: `expires` is when their lease ends, or among those in the air when they land.
local function holds(pool, name, from, to)
  local flat, found = redis.call('ZRANGEBYSCORE', pool.key .. name, from, to, 'WITHSCORES'), {}
  for i = 1, #flat, 2 do
    local at, r, input, output = string.match(flat[i], ':(%d+):(%d+):(%d+):(%d+)$')
    found[#found + 1] = {
      at = tonumber(at),
      need = {tonumber(r), tonumber(input), tonumber(output)},
      expires = tonumber(flat[i + 1]),
    }
  end
  return found
end

local function soonest(pool, name)
  return tonumber(redis.call('ZRANGE', pool.key .. name, 0, 0, 'WITHSCORES')[2] or 1e300)
end

local function landed(pool, requests)
  if requests ~= 0 then set(pool, 'A', (pool.fields.A or 0) + requests) end
end

-- Requests that have surely been counted by their provider count as made now, and are held no longer.
local function land(pool)
  if not pool.fields.z or pool.fields.z > now then return end
  for _, hold in ipairs(holds(pool, ':air', '-inf', now)) do
    landed(pool, hold.need[1])
    for _, w in ipairs(pool.windows) do
      if w.lands then charge(pool, w, hold.need[1], hold.expires) end
    end
  end
  redis.call('ZREMRANGEBYSCORE', pool.key .. ':air', '-inf', now)
  set(pool, 'z', soonest(pool, ':air'))
end

local function expire(pool)
  if not pool.fields.x or pool.fields.x > now then return 0 end
  local overdue = holds(pool, ':held', '-inf', now)
  for _, hold in ipairs(overdue) do
    fly(pool, hold.need, -1)
    landed(pool, -hold.need[1])
    for _, w in ipairs(pool.windows) do
      if not w.lands then
        charge(pool, w, amount(hold.need, w.letter), w.style == REFILLING and hold.expires or hold.at)
      end
    end
  end
  redis.call('ZREMRANGEBYSCORE', pool.key .. ':held', '-inf', now)
  set(pool, 'x', soonest(pool, ':held'))
  return #overdue
end

local function forget(pool, w)
  if w.style == REFILLING then return refill(pool, w, now) end
  local log, left = pool.key .. ':' .. w.key, used(pool, w)
  local before = left
  while left > 0 and drops_at(pool, w, pool.fields['o' .. w.key]) <= now do
    local flat, gone = redis.call('ZRANGE', log, 0, 63, 'WITHSCORES'), 0
    if #flat == 0 then left = 0 end
    for i = 1, #flat, 2 do
      local stamp = tonumber(flat[i + 1])
      set(pool, 'o' .. w.key, stamp)
      if drops_at(pool, w, stamp) > now then break end
      left = left - tonumber(string.match(flat[i], ':(%d+)$'))
      gone = gone + 1
      set(pool, 'D' .. w.key, math.max(pool.fields['D' .. w.key] or 0, drops_at(pool, w, stamp)))
    end
    if gone > 0 then redis.call('ZREMRANGEBYRANK', log, 0, gone - 1) end
  end
  if left ~= before then set(pool, 'u' .. w.key, left) end
end

local function window(pool, key, period, limit, style, width, guard, anchor, resets, capped)
  return {
    key = key, letter = string.sub(key, 1, 1), period = period, limit = limit >= 0 and limit or nil, style = style,
    width = width, guard = guard, anchor = anchor, resets = resets, capped = capped == 1,
    lands = string.sub(key, 1, 1) == 'r' and period > AT_ONCE,
    debt = pool.fields['d' .. key] or 0, debt_at = pool.fields['e' .. key] or 0,
  }
end

local function learned_window(pool, key)
  local period = tonumber(string.sub(key, 2))
  return window(pool, key, period, -1, 0, math.max(1, math.floor(period / 600)), 0, 0, {}, 0)
end

local function load(i)
  local pool = {key = KEYS[i], fields = {}, changed = {}, windows = {}, known = {}}
  local flat, extra = redis.call('HGETALL', pool.key), {}
  for j = 1, #flat, 2 do pool.fields[flat[j]] = tonumber(flat[j + 1]) end
  local specs = cjson.decode(ARGV[2 + i])
  if request.member then shared.renew(pool, specs) end
  for j, spec in ipairs(specs) do
    pool.windows[j] = window(pool, unpack(spec))
    pool.known[spec[1]] = pool.windows[j]
  end
  for field in pairs(pool.fields) do
    local key = string.sub(field, 2)
    if string.sub(field, 1, 1) == 'l' and not pool.known[key] then extra[#extra + 1] = key end
  end
  table.sort(extra)
  for _, key in ipairs(extra) do
    pool.known[key] = learned_window(pool, key)
    pool.windows[#pool.windows + 1] = pool.known[key]
  end
  land(pool)
  pool.expired = expire(pool)
  for _, w in ipairs(pool.windows) do forget(pool, w) end
  return pool
end

local function refilled_at(pool, w, over, limit, held)
  local debt, time = w.debt, now
  local need = debt + over * w.period
  for _, hold in ipairs(held) do
    local refilled = math.min(debt, (hold.expires - time) * limit)
    if need <= refilled then break end
    debt = debt + amount(hold.need, w.letter) * w.period - refilled
    need = need - refilled
    time = hold.expires
  end
  return time + math.max(0, math.ceil(need / limit))
end

-- The part of a log that must drop before `need` is free, as {when, amount}; the rest can't matter.
local function frees(pool, w, need)
  local found, from = {}, 0
  while need > 0 do
    local flat = redis.call('ZRANGE', pool.key .. ':' .. w.key, from, from + 49, 'WITHSCORES')
    if #flat == 0 then break end
    for i = 1, #flat, 2 do
      local freed = tonumber(string.match(flat[i], ':(%d+)$'))
      found[#found + 1] = {drops_at(pool, w, tonumber(flat[i + 1])), freed}
      need = need - freed
      if need <= 0 then break end
    end
    from = from + 50
  end
  return found
end

local function fits_at(pool, w, n, flying)
  local start = math.max(now, pool.fields['b' .. w.key] or 0)
  local limit = limit_of(pool, w)
  if not limit or n == 0 then return start end
  if n > limit then return nil end
  local over = n - limit
  if flying then over = over + reserved(pool, w) end
  if w.style == REFILLING and w.debt + over * w.period <= 0 then return start end
  local need = used(pool, w) + over
  if w.style ~= REFILLING and need <= 0 then return start end
  local held = {}
  if flying then
    local name = w.lands and ':air' or ':held'
    pool[name] = pool[name] or holds(pool, name, '-inf', '+inf')
    held = pool[name]
  end
  if w.style == REFILLING then return math.max(start, refilled_at(pool, w, over, limit, held)) end
  local events, when = frees(pool, w, need), now
  for _, hold in ipairs(held) do
    local stamp = math.ceil((w.lands and hold.expires or hold.at) / w.width) * w.width
    events[#events + 1] = {math.max(hold.expires, drops_at(pool, w, stamp)), amount(hold.need, w.letter)}
  end
  table.sort(events, function(a, b) return a[1] < b[1] end)
  for _, event in ipairs(events) do
    when, need = event[1], need - event[2]
    if need <= 0 then break end
  end
  return math.max(start, when)
end

-- What holds a draw up longest as {pool's place, window, reason, wait, earliest}; nil if it fits.
local function refusal(draw, pools)
  local fits, earliest, where, reason, never = now, now, {0, ''}, 'full', 1e300
  for _, i in ipairs(draw.pools) do
    pools[i] = pools[i] or load(i)
    local pool = pools[i]
    local blocked = pool.fields.b or 0
    earliest = math.max(earliest, blocked)
    if blocked > fits then fits, where, reason = blocked, {i, ''}, 'blocked' end
    for _, w in ipairs(pool.windows) do
      local n = amount(draw.need, w.letter)
      local when = fits_at(pool, w, n, true)
      if when ~= now then
        earliest = math.max(earliest, fits_at(pool, w, n, false) or never)
        if not when and fits < never then
          fits, where, reason = never, {i, w.key}, 'too_large'
        elseif when and when > fits then
          local blocking = when == (pool.fields['b' .. w.key] or 0)
          fits, where, reason = when, {i, w.key}, blocking and 'blocked' or 'full'
        end
      end
    end
  end
  if fits <= now then return nil end
  return {where[1], where[2], reason, fits == never and -1 or fits - now, earliest >= never and -1 or earliest - now}
end

local function member(id, at, need)
  return string.format('%s:%.0f:%.0f:%.0f:%.0f', id, at, need[1], need[2], need[3])
end

local function transit(pool)
  local least = TRANSIT
  for _, w in ipairs(pool.windows) do
    if w.lands then least = math.min(least, math.floor(w.period / 10)) end
  end
  return least
end

local function hold(pool, name, at, expires, need)
  local lands = math.min(at + transit(pool), expires)
  redis.call('ZADD', pool.key .. ':held', expires, name)
  redis.call('ZADD', pool.key .. ':air', lands, name)
  for _, key in ipairs({':held', ':air'}) do
    if (pool.fields.R or 0) == 0 then redis.call('PEXPIRE', pool.key .. key, KEEP) end
  end
  fly(pool, need, 1)
  set(pool, 'x', math.min(pool.fields.x or 1e300, expires))
  set(pool, 'z', math.min(pool.fields.z or 1e300, lands))
end

local function take(pool, need)
  if request.lease <= 0 then return spend(pool, need, 0) end
  local expires = now + request.lease
  hold(pool, member(request.id, now, need), now, expires, need)
end

-- A reservation ended: what was really used counts in its place; what has landed stays where it is, but for the difference.
local function finish(pool, id, at, need, actual, counted, over)
  local name = member(id, at, need)
  if redis.call('ZREM', pool.key .. ':held', name) == 0 then return false end
  fly(pool, need, -1)
  local flying = redis.call('ZREM', pool.key .. ':air', name) == 1
  if not flying then landed(pool, -need[1]) end
  for _, w in ipairs(pool.windows) do
    local n, when = amount(actual, w.letter), w.letter == 'r' and counted or over
    if flying or not w.lands then
      charge(pool, w, n, when)
    elseif n > need[1] then
      charge(pool, w, n - need[1], when)
    else
      uncharge(pool, w, need[1] - n, at + transit(pool))
    end
  end
  return true
end

-- What remains was counted at `since` or later: if something left the log after that, the word may be older than that.
local function learn(pool, since, key, limit, remaining, reset_in, refused)
  if key == '' then
    if refused == 1 then
      set(pool, 'b', math.max(pool.fields.b or 0, now + (reset_in < 0 and POOL_BLOCK or reset_in)))
    elseif reset_in == 0 then
      set(pool, 'b', 0)
    end
    return
  end
  local w = pool.known[key]
  if not w then
    w = learned_window(pool, key)
    pool.known[key] = w
    pool.windows[#pool.windows + 1] = w
  end
  if w.style == REFILLING then save_debt(pool, w) end
  if limit >= 0 or not pool.fields['l' .. key] then set(pool, 'l' .. key, limit) end
  if w.style == FIXED and #w.resets == 0 and reset_in > 0 then set(pool, 'a' .. key, now + reset_in) end
  local effective = limit_of(pool, w)
  local said = remaining
  if (pool.fields['D' .. key] or 0) > since then remaining = -1 end
  if refused == 1 and w.letter == 'r' then remaining = 0 end
  if remaining >= 0 and effective then
    local foreign, at = effective - remaining - reserved(pool, w) - used(pool, w), now
    if reset_in >= 0 and w.style == 0 then at = math.min(now, now + reset_in - w.period) end
    charge(pool, w, foreign, at)
    forget(pool, w)
  end
  if refused == 1 then
    local natural = w.style == FIXED and drops_at(pool, w, now) - now or math.min(w.period, WINDOW_BLOCK)
    set(pool, 'b' .. key, math.max(pool.fields['b' .. key] or 0, now + (reset_in < 0 and natural or reset_in)))
  elseif reset_in == 0 and limit < 0 and said < 0 then
    set(pool, 'b' .. key, 0)
  end
end

local function new_at(pool, w)
  if w.style == FIXED then return drops_at(pool, w, now) end
  if w.style == REFILLING then
    local limit = limit_of(pool, w)
    return limit > 0 and now + math.ceil(w.debt / limit) or now
  end
  local newest = redis.call('ZREVRANGE', pool.key .. ':' .. w.key, 0, 0, 'WITHSCORES')[2]
  return newest and drops_at(pool, w, tonumber(newest)) or now
end

local function tell()
  redis.call('PUBLISH', request.channel, table.concat(KEYS, '\n', 1, count))
end

local operations = {}

local function describe(pool, i, rows)
  for _, w in ipairs(pool.windows) do
    local limit = limit_of(pool, w)
    local blocked = math.max(0, (pool.fields['b' .. w.key] or 0) - now, (pool.fields.b or 0) - now)
    rows[#rows + 1] = {
      i, w.key, limit or -1, used(pool, w), reserved(pool, w), new_at(pool, w) - now, blocked,
      limit and limit == pool.fields['l' .. w.key] and 1 or 0,
    }
  end
end

function operations.reserve(pools)
  local refusals, why = {}, request.member and shared.status()
  if why then return {-1, why} end
  for index, draw in ipairs(request.draws) do
    local no = refusal(draw, pools)
    if not no then
      if request.member and not shared.agreed(draw, pools) then return {-1, 'unheard'} end
      local rows = {}
      for _, i in ipairs(draw.pools) do
        take(pools[i], draw.need)
        if request.lease <= 0 then describe(pools[i], i, rows) end
      end
      return {index, now, rows}
    end
    refusals[index] = no
  end
  return {0, refusals}
end

function operations.settle(pools)
  local live = 0
  for i = 1, count do
    pools[i] = load(i)
  end
  for _, word in ipairs(request.words or {}) do
    learn(pools[word[1]], request.at, unpack(word, 2))
  end
  for i = 1, count do
    local pool = pools[i]
    local counted = now - math.max(0, math.min(request.ago, now - request.at))
    if finish(pool, request.id, request.at, request.need, request.used, counted, now) then live = 1 end
  end
  if request.tell then tell() end
  return live
end

function operations.learn(pools)
  pools[1] = load(1)
  for _, word in ipairs(request.words) do learn(pools[1], now, unpack(word, 2)) end
  tell()
  return 1
end

function operations.expire(pools)
  local expired = 0
  for i = 1, count do
    pools[i] = load(i)
    expired = expired + pools[i].expired
  end
  return expired
end

function operations.snapshot(pools)
  local rows = {}
  for i = 1, count do
    pools[i] = load(i)
    describe(pools[i], i, rows)
  end
  return rows
end
