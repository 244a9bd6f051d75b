# make demo   runs an agent, moves it, resumes it and verifies its life
# make test   passes every test, in Go, Python, Node and a real browser
# make        builds everything into bin/ and dist/
# make install   puts igor and igor-verify, with man pages and completions, into PREFIX
# make release   makes the archives of a release in dist/release

GO      ?= go
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X igor.dev/verifier.commit=$(COMMIT)
BUILD   := $(GO) build -trimpath -ldflags "$(LDFLAGS)"

MODULES  := . effects sdk agents internal/interop
FUZZTIME ?= 30s
PREFIX   ?= /usr/local

.PHONY: all build agents man site install release demo test test-go test-languages test-web test-release test-frameworks soak check fuzz bench clean tools-go tools-languages tools-web

# The site comes first: igor has it inside.
all: site build agents man

build:
	$(BUILD) -o bin/ ./cmd/igor ./cmd/igor-verify

# Manual pages: man ./bin/man/igor-run.1
man: build
	bin/igor man bin/man

# Agents are WASM modules in standard Go.
agents:
	$(MAKE) -C agents GO="$(GO)" OUT="$(CURDIR)/bin/agents"

site: node_modules
	$(GO) run ./site/build

# DESTDIR is a root to install below, as packagers have it.
install: site build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 bin/igor bin/igor-verify $(DESTDIR)$(PREFIX)/bin
	bin/igor man $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	bin/igor completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/igor
	bin/igor completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_igor
	bin/igor completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/igor.fish
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in packaging/systemd/*; do sed 's|/usr/bin/igor|$(PREFIX)/bin/igor|' $$unit >$(DESTDIR)$(PREFIX)/lib/systemd/system/$$(basename $$unit) || exit 1; done

release: site
	$(GO) run -C tools ./release

demo: build agents
	./demo.sh

test: test-go test-languages test-web test-release

test-go: build agents tools-go tools-languages
	for m in $(MODULES); do (cd $$m && $(GO) test ./...) || exit 1; done

# The SDKs and agents in other languages, each with its own tools.
test-languages: tools-languages
	$(MAKE) --no-print-directory -C sdk test
	$(MAKE) --no-print-directory -C agents test-languages

test-web: site tools-web
	GOOS=js GOARCH=wasm $(GO) test -exec "$$($(GO) env GOROOT)/lib/wasm/go_js_wasm_exec" ./verifier/internal/...
	npm run --silent test:run

# The guides of docs/frameworks.md, built with React, Vue, Svelte, Next, Vite and webpack,
# which npm brings: some minutes, and 450 MB in dist.
test-frameworks: site tools-web
	npm run --silent types
	node --test --test-timeout=3600000 site/frameworks/frameworks.test.mjs

# A release is made twice, compared, unpacked and run.
test-release: site
	cd tools && $(GO) test ./release

node_modules: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch node_modules

# The programs that tests run, where they are missing.
tools-go:
	@command -v xmllint >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends libxml2-utils; }
	@command -v mandoc >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends mandoc; }
	@command -v promtool >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends prometheus; }
	@command -v wat2wasm >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends wabt; }

# Toolchains for agents that are not in Go.
tools-languages: node_modules
	@$(MAKE) -s -C sdk has-rust >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends rustc cargo libstd-rust-dev-wasm32 lld; }
	@$(MAKE) -s -C sdk has-c >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends clang lld wasi-libc libclang-rt-dev-wasm32; }

tools-web:
	@command -v chromium >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends chromium; }
	@command -v bsdtar >/dev/null && command -v 7z >/dev/null && command -v zip >/dev/null && command -v unzip >/dev/null || \
	  { apt-get update -q && apt-get install -q -y --no-install-recommends libarchive-tools p7zip-full zip unzip; }
	@command -v firefox-esr >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends firefox-esr; }

# Static checks.
check: node_modules
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -d $$(git ls-files '*.go'); exit 1; }
	for m in $(MODULES) tools; do (cd $$m && $(GO) vet ./...) || exit 1; done
	for m in $(MODULES); do (cd $$m && $(GO) tool -modfile=$(CURDIR)/tools/go.mod staticcheck ./...) || exit 1; done
	npx --no-install tsc --noEmit -p .

# What CI does a part of, whole: hours. The figures are in what it prints.
soak: build agents site tools-go tools-languages
	$(GO) test -timeout 0 -v -run '^TestUpKill$$' ./cmd/igor -up-kills 1000
	$(GO) test -timeout 0 -v -run '^TestKill' ./cmd/igor -kill-rounds 200
	$(GO) test -timeout 0 -v -run 'Disk|PowerCut' ./runtime -every-step
	$(GO) test -timeout 0 -v -run '^TestMany' ./runtime -agents 1000
	cd agents && $(GO) test -timeout 0 -v -run TestCrash ./sentinel ./x402buyer ./deployer -crashes 300 -failpoints
	cd tools && $(GO) test -timeout 0 -v ./release -whole

# Every fuzz target, one after the other.
fuzz:
	for m in $(MODULES); do (cd $$m && for p in $$($(GO) list ./...); do \
	  for t in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    $(GO) test $$p -run '^$$' -fuzz "^$$t$$" -fuzztime $(FUZZTIME) || exit 1; \
	  done; done) || exit 1; done

# What things cost, as ratios in one run: verification against crypto/ed25519, and
# a life against the machine that it is lived on.
bench: agents
	$(GO) test -run '^$$' -bench Verify -benchtime 5x ./verifier/history
	$(GO) test -run '^$$' -bench . -benchtime 3x ./runtime
	cd agents && $(GO) test -run '^$$' -bench Languages -benchtime 1x ./heartbeat

clean:
	rm -rf bin dist node_modules
