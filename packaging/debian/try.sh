#!/usr/bin/env bash
# Tries the package as a new user would, on a clean Debian: installs it, runs an
# agent as the service's user under what of the unit's restrictions there is without
# systemd, upgrades the package, goes on, verifies the life, and purges.
#
#	packaging/debian/try.sh igor_0.1.0_amd64.deb AGENT.wasm [ROOT]
#
# Where the package of igor-node lies beside igor's, the agent is added to a node too, which
# runs as its unit does.
#
# Needs root, and debootstrap unless ROOT has a Debian already.
set -euo pipefail
deb=$(realpath "$1") agent=$(realpath "$2") root=${3:-}
[ "$(id -u)" = 0 ] || { echo "try.sh: needs root" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "$root" ]; then
	root=$work/root
	debootstrap --variant=minbase --include=adduser bookworm "$root" >"$work/log" || { tail "$work/log" >&2; exit 2; }
fi
say() { printf '\n== %s\n' "$*"; }
inside() { chroot "$root" "$@"; }

# The unit's User, NoNewPrivileges, CapabilityBoundingSet, UMask, ProtectSystem=strict,
# StateDirectory and CacheDirectory: everything is read-only but two folders.
cat >"$work/served" <<'END'
set -e
root=$1; shift
mount --bind "$root" "$root"
mount --bind "$root/var/lib/igor" "$root/var/lib/igor"
install -d -o "$(stat -c %u "$root/var/lib/igor")" -g "$(stat -c %g "$root/var/lib/igor")" -m 700 "$root/var/cache/igor"
mount --bind "$root/var/cache/igor" "$root/var/cache/igor"
mount -o remount,bind,ro "$root"
umask 077
exec chroot "$root" setpriv --reuid igor --regid igor --init-groups --no-new-privs --bounding-set -all --inh-caps -all \
	env -i PATH=/usr/bin:/bin HOME=/var/lib/igor "$@"
END
# An array, so that a signal to it in the background reaches igor itself.
served=(unshare --mount bash "$work/served" "$root")

say "install"
cp "$deb" "$root/tmp/igor.deb"
inside dpkg -i /tmp/igor.deb
inside getent passwd igor
inside ls -ld /var/lib/igor
cp "$agent" "$root/tmp/agent.wasm"
if [ -f "${agent%.wasm}.manifest.json" ]; then cp "${agent%.wasm}.manifest.json" "$root/tmp/agent.manifest.json"; fi

flags=(--node-key /var/lib/igor/node.key --cache-dir /var/cache/igor --log-format json --tick-interval 10ms)
say "an agent is born, as user igor"
"${served[@]}" igor run /tmp/agent.wasm --dir /var/lib/igor/watcher --ticks 20 "${flags[@]}"

say "the service goes on with it, and is stopped with SIGTERM"
"${served[@]}" igor resume /var/lib/igor/watcher "${flags[@]}" & pid=$!
sleep 2
kill -TERM "$pid"
wait "$pid"

say "the package is upgraded"
dpkg-deb -R "$deb" "$work/newer"
sed -i 's/^Version: .*/&+1/' "$work/newer/DEBIAN/control"
dpkg-deb --root-owner-group -Znone -b "$work/newer" "$root/tmp/newer.deb" >/dev/null
inside dpkg -i /tmp/newer.deb
"${served[@]}" igor resume /var/lib/igor/watcher --ticks 5 "${flags[@]}"

node=$(dirname "$deb")/$(basename "$deb" | sed 's/^igor_/igor-node_/')
if [ -e "$node" ]; then
	say "a node, of its own package, has the agent"
	dpkg-deb -R "$node" "$work/node" # for the igor that was upgraded
	sed -i 's/^\(Version: .*\|Depends: igor (= [^)]*\)/&+1/' "$work/node/DEBIAN/control"
	dpkg-deb --root-owner-group -Znone -b "$work/node" "$root/tmp/node.deb" >/dev/null
	inside dpkg -i /tmp/node.deb
	"${served[@]}" igor-node init --dir /var/lib/igor/node --key /var/lib/igor/node.key --tick-interval 10ms
	# What the unit starts, but for systemd's own words.
	unit=$root/usr/lib/systemd/system/igor-node.service
	read -r -a start < <(sed -n 's/^ExecStart=//p' "$unit" | sed 's/ \$IGOR_NODE_FLAGS//')
	"${served[@]}" "${start[@]}" --metrics 0 & pid=$!
	for _ in $(seq 100); do "${served[@]}" igor-node status --dir /var/lib/igor/node 2>/dev/null && break; sleep 0.1; done
	"${served[@]}" igor-node add --dir /var/lib/igor/node /var/lib/igor/watcher
	sleep 2
	"${served[@]}" igor-node agents --dir /var/lib/igor/node
	kill -TERM "$pid"
	wait "$pid"
	mv "$root/var/lib/igor/node/agents/watcher" "$root/var/lib/igor/watcher"
	inside dpkg --purge igor-node
fi

say "anybody verifies the life"
inside igor-verify /var/lib/igor/watcher
inside igor replay /var/lib/igor/watcher | tail -1
inside igor receipts /var/lib/igor/watcher | tail -1

say "a purge leaves the agents"
inside dpkg --purge igor
inside test -f /var/lib/igor/watcher/key
inside sh -c '! command -v igor && ! test -e /var/cache/igor'
say "all of it worked"
