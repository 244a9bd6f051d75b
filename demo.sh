#!/usr/bin/env bash
# The main job, on real parts: an agent lives, is stopped, moves to another place,
# goes on living there, and its whole life is verified. Then one bit is flipped.
set -euo pipefail
cd "$(dirname "$0")"
PATH=$PWD/bin:$PATH
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir "$place/here" "$place/there"
cp bin/agents/heartbeat.* "$place/here"

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
run() {
  printf '$ %s\n' "$*"
  "$@"
}

cd "$place/here"
say "An agent is born, and lives until somebody stops it."
echo '$ igor run heartbeat.wasm --checkpoint-every 5 --tick-interval 20ms'
igor run heartbeat.wasm --checkpoint-every 5 --tick-interval 20ms --quiet &
until [ "$(find heartbeat/history -name '*.ckpt' 2>/dev/null | wc -l)" -ge 5 ]; do
  kill -0 $! # it runs, or the demo is over
  sleep 0.1
done
echo "$ kill $!"
kill -TERM $!
wait $!

say "Its folder is the agent. It moves to another place."
run cp -r heartbeat ../there/
run rm -r heartbeat
run cd ../there

say "There it goes on, as the same agent."
run igor resume heartbeat --ticks 50 --checkpoint-every 5 --tick-interval 0 --quiet

say "Is this its whole life, and untouched?"
run igor-verify heartbeat

say "Somebody changes one bit of one checkpoint."
file=$(find heartbeat/history -name '*.ckpt' | sort | sed -n 8p)
byte=$(od -An -tu1 -j 212 -N 1 "$file")
printf "$(printf '\\%03o' $((byte ^ 1)))" | dd of="$file" bs=1 seek=212 conv=notrunc status=none
echo "flipped the lowest bit of byte 212 of $file"
code=0
run igor-verify heartbeat || code=$?
if [ "$code" -ne 1 ]; then
  echo "demo: the flipped bit gave exit code $code, not 1" >&2
  exit 1
fi
