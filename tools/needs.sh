#!/usr/bin/env bash
# Names what the tests need and this machine has not, and the line that gets it. As
# root on a Debian, it gets it.
#
#	tools/needs.sh PART...        fails if something is missing
#	tools/needs.sh --skip PART... says which tests are skipped without it
#
# The parts: base, go, languages, payments, web, release.
set -uo pipefail
cd "$(dirname "$0")/.."
skip=
if [ "${1:-}" = --skip ]; then skip=1; shift; fi

missing=() packages=() skipped=() others=()

# need PROGRAM PACKAGES TESTS: what to install, and what is not tested without it.
need() {
	command -v "$1" >/dev/null && return
	missing+=("$1"); packages+=($2); skipped+=("$1: $3")
}
# has LANGUAGE WHAT PACKAGES TESTS: a toolchain that make knows how to find.
has() {
	make -s -C sdk "has-$1" >/dev/null 2>&1 && return
	missing+=("$2"); packages+=($3); skipped+=("$2: $4")
}
# other WHAT HOW: what no package of Debian has, or not new enough.
other() { others+=("$1: $2"); }

check() {
	local p
	missing=() packages=() skipped=() others=()
	for p in "$@"; do
		case $p in
		base)
			command -v go >/dev/null || other "go, 1.26 or later" "https://go.dev/dl"
			need git git "-"
			need python3 python3 "-"
			;;
		go)
			need xmllint libxml2-utils "JUnit reports against their schema"
			need mandoc mandoc "the manual pages, by mandoc"
			need promtool prometheus "alert rules, by Prometheus"
			need wat2wasm wabt "agents of one fault, made from text"
			need jq jq "the lines of docs/ci.md with jq"
			if [ -n "$skip" ] && [ "$(id -u)" != 0 ]; then skipped+=("root: file systems that lack something, which only root can mount"); fi
			;;
		languages)
			need cc gcc "agents in C, natively"
			has rust "rustc for WebAssembly" "rustc cargo libstd-rust-dev-wasm32 lld" "agents in Rust"
			has c "clang for WebAssembly" "clang lld wasi-libc libclang-rt-dev-wasm32" "agents in C"
			if [ -n "$skip" ]; then has assemblyscript "AssemblyScript (npm ci)" "" "agents in AssemblyScript"; fi
			;;
		payments)
			if [ -n "$skip" ] && ! [ -d x402/x402test/node_modules ]; then
				skipped+=("payments (make x402/x402test/node_modules): with a chain and the reference parts of x402")
			fi
			;;
		arweave)
			if [ -n "$skip" ] && ! [ -d internal/interop/arweave/node_modules ]; then
				skipped+=("arweave (make internal/interop/arweave/node_modules): data items against arbundles, archives in arlocal")
			fi
			;;
		web)
			node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null || other "node, 20 or later, with npm" "https://nodejs.org"
			need chromium chromium "-"
			need firefox-esr firefox-esr "-"
			need bsdtar libarchive-tools "-"
			need 7z p7zip-full "-"
			need zip zip "-"
			need unzip unzip "-"
			;;
		release)
			need dpkg-deb dpkg "-"
			;;
		*)
			echo "needs.sh: there is no part $p" >&2
			exit 2
			;;
		esac
	done
}

check "$@"
if [ -n "$skip" ]; then
	if [ ${#skipped[@]} -gt 0 ]; then
		echo "not tested, for it is not here:"
		printf '  %s\n' "${skipped[@]}"
	fi
	exit 0
fi
[ ${#missing[@]} -gt 0 ] || [ ${#others[@]} -gt 0 ] || exit 0
install="apt-get install -y --no-install-recommends $(printf '%s\n' ${packages[@]+"${packages[@]}"} | sort -u | xargs)"
if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	apt-get update -q && $install || exit 1
	check "$@"
	[ ${#missing[@]} -gt 0 ] || [ ${#others[@]} -gt 0 ] || exit 0
fi
{
	echo "the tests need what is not here:"
	printf '%s\n' ${missing[@]+"${missing[@]}"} | sort -u | sed 's/^./  &/'
	[ ${#others[@]} = 0 ] || printf '  %s\n' "${others[@]}"
	if [ ${#missing[@]} -gt 0 ]; then
		echo "on Debian, as root:"
		echo "  $install"
	fi
	echo "make test-go needs only Go and Python, and says which tests it leaves out"
} >&2
exit 1
