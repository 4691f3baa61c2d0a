-- Sends requests in turn, and holds every answer against what has to come.
--
-- Arguments: a file of requests, each as it goes over the wire; the statuses that may
-- come, as 200,307; and what every body has to be: same=<file> for just that, has=<text>
-- for one with that text in it, status for any, and length for one that is not kept:
-- then only errors are counted. The last one are statuses that may come as well, and
-- are counted apart.

local requests, statuses, excused, last = {}, {}, {}, 0
local same, has
local threads = {}
wrong, failed, came = 0, 0, ""

function setup(thread)
	table.insert(threads, thread)
end

function init(arguments)
	local file = assert(io.open(arguments[1], "rb"))
	for request in file:read("*a"):gmatch("(.-\r\n\r\n)") do
		table.insert(requests, request)
	end
	file:close()
	for status in arguments[2]:gmatch("%d+") do
		statuses[tonumber(status)] = true
	end
	for status in arguments[4]:gmatch("%d+") do
		excused[tonumber(status)] = true
	end
	local kind, value = arguments[3]:match("^(%a+)=?(.*)$")
	if kind == "same" then
		file = assert(io.open(value, "rb"))
		same = file:read("*a")
		file:close()
	elseif kind == "has" then
		has = value
	elseif kind == "length" then
		response = nil -- Else wrk keeps each body until it is whole.
	end
end

function request()
	last = last % #requests + 1
	return requests[last]
end

function response(status, _, body)
	if excused[status] then
		failed = failed + 1
	elseif not statuses[status] then
		wrong, came = wrong + 1, "status " .. status
	elseif (same and body ~= same) or (has and not body:find(has, 1, true)) then
		wrong, came = wrong + 1, "another body"
	end
end

function done(summary, latency)
	local errors = summary.errors
	local sum, apart, what = 0, 0, ""
	for _, thread in ipairs(threads) do
		sum = sum + thread:get("wrong")
		apart = apart + thread:get("failed")
		what = what .. thread:get("came")
	end
	io.write(string.format(
		'\n{"requests": %d, "bytes": %d, "seconds": %f, "median": %f, "slow": %f,'
			.. ' "wrong": %d, "failed": %d, "came": "%s", "refused": %d, "connect": %d,'
			.. ' "read": %d, "write": %d, "timeout": %d}\n',
		summary.requests, summary.bytes, summary.duration / 1e6,
		latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
		sum, apart, what, errors.status, errors.connect, errors.read, errors.write,
		errors.timeout))
end
