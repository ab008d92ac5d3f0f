#!/bin/sh
# Uses the JSON gateway with nothing but curl: keys, transactions, a lease, a watch, errors.
#
#   test/clients/gateway.sh http://127.0.0.1:2379
#
# Prints each step, and ends with exit code 1 at the first answer that is not as expected. Keys are below gateway.sh/.
set -eu

endpoint=${1:-http://127.0.0.1:2379}
answers=$(mktemp)
watcher=
trap '[ -z "$watcher" ] || kill "$watcher" 2>/dev/null || true; rm -f "$answers"' EXIT

# Keys and values go as base64.
b64() { printf %s "$1" | base64 | tr -d '\n'; }

# post PATH JSON: the answer's body.
post() { curl --silent --show-error --max-time 20 "$endpoint/v3/$1" --data "$2"; }

# expect STEP TEXT PATH JSON: the answer must have TEXT in it.
expect() {
  answer=$(post "$3" "$4")
  case $answer in
    *"$2"*) echo "ok: $1" ;;
    *)
      echo "FAILED: $1: $answer has no $2" >&2
      exit 1
      ;;
  esac
}

key=$(b64 gateway.sh/key)
leased=$(b64 gateway.sh/leased)
prefix=$(b64 gateway.sh/)
end=$(b64 gateway.sh0)

expect 'put' '"revision":"' kv/put "{\"key\":\"$key\",\"value\":\"$(b64 one)\"}"
expect 'put answers what was there' "\"value\":\"$(b64 one)\"" kv/put "{\"key\":\"$key\",\"value\":\"$(b64 two)\",\"prev_kv\":true}"
expect 'range' "\"value\":\"$(b64 two)\"" kv/range "{\"key\":\"$key\"}"

compare="{\"key\":\"$key\",\"target\":\"VALUE\",\"value\":\"$(b64 two)\"}"
put="{\"request_put\":{\"key\":\"$key\",\"value\":\"$(b64 three)\"}}"
get="{\"request_range\":{\"key\":\"$key\"}}"
txn="{\"compare\":[$compare],\"success\":[$put],\"failure\":[$get]}"
expect 'a transaction whose compare holds' '"succeeded":true' kv/txn "$txn"
expect 'and again, when it does not' "\"response_range\":" kv/txn "$txn"

id=$(post lease/grant '{"TTL":60}' | sed -n 's/.*"ID":"\([0-9]*\)".*/\1/p')
[ -n "$id" ] || { echo 'FAILED: no lease' >&2; exit 1; }
expect 'put with a lease' '"revision":"' kv/put "{\"key\":\"$leased\",\"lease\":\"$id\"}"
expect 'keep the lease alive' '{"result":{' lease/keepalive "{\"ID\":$id}"
expect 'its keys' "$leased" lease/timetolive "{\"ID\":\"$id\",\"keys\":true}"

# -N: every line as soon as it is there.
curl --silent -N "$endpoint/v3/watch" --data "{\"create_request\":{\"key\":\"$prefix\",\"range_end\":\"$end\"}}" >"$answers" &
watcher=$!
tries=0
# wait_for STEP TEXT: until the watch has told it.
wait_for() {
  until grep -q "$2" "$answers"; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { echo "FAILED: $1" >&2; exit 1; }
    sleep 0.1
  done
  echo "ok: $1"
}
wait_for 'watch' '"created":true'
expect 'revoke the lease' '"revision":"' lease/revoke "{\"ID\":\"$id\"}"
wait_for 'the watch sees the key of the lease go' '"type":"DELETE"'

expect 'delete all' '"deleted":"1"' kv/deleterange "{\"key\":\"$prefix\",\"range_end\":\"$end\"}"
expect 'an error has a code and a message' '{"code":5,"message":"etcdserver: requested lease not found"}' lease/revoke "{\"ID\":\"$id\"}"
expect 'the members' '"members":[{' cluster/member/list '{}'
expect 'the status' '"version":"3.' maintenance/status ''
echo 'all as expected'
