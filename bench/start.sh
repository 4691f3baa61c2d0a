#!/bin/sh
# Starts a program, and asks a URL until it sends clients for a token: start.sh LOG URL
# COMMAND... The number of the process, which goes on, is left in LOG.pid.

log=$1
url=$2
shift 2
"$@" >"$log" 2>&1 &
echo $! >"$log.pid"
until [ "$(curl --silent --insecure --output /dev/null --write-out '%{http_code}' "$url/v2/")" = 401 ]; do
	sleep 0.01
done
