# make demo   runs an agent, moves it, resumes it and verifies its life
# make test   passes every test, in Go, Python, Node and a real browser
# make test-go   passes those that need Go and Python alone
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

.PHONY: all build servers agents man site install release demo demo-pay demo-node demo-memory test test-go test-languages test-web test-release test-frameworks soak check fuzz bench clean

# The site comes first: igor has it inside.
all: site build servers agents man

build:
	$(BUILD) -o bin/ ./cmd/igor ./cmd/igor-verify

# For those who run nodes, and logs of heads and their witnesses.
servers:
	$(BUILD) -o bin/ ./cmd/igor-node ./cmd/igor-log

# Manual pages: man ./bin/man/igor-run.1
man: build
	bin/igor man bin/man

# Agents are WASM modules in standard Go.
agents:
	$(MAKE) -C agents GO="$(GO)" OUT="$(CURDIR)/bin/agents"

site: node_modules
	$(GO) run ./site/build

# DESTDIR is a root to install below, as packagers have it.
install: site build servers
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 bin/igor bin/igor-verify bin/igor-node bin/igor-log $(DESTDIR)$(PREFIX)/bin
	bin/igor man $(DESTDIR)$(PREFIX)/share/man/man1
	bin/igor-log man $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	bin/igor completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/igor
	bin/igor completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_igor
	bin/igor completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/igor.fish
	for folder in prometheus grafana; do install -d $(DESTDIR)$(PREFIX)/share/igor/$$folder && install -m 644 packaging/$$folder/* $(DESTDIR)$(PREFIX)/share/igor/$$folder || exit 1; done
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in packaging/systemd/*; do sed 's|/usr/bin/igor|$(PREFIX)/bin/igor|' $$unit >$(DESTDIR)$(PREFIX)/lib/systemd/system/$$(basename $$unit) || exit 1; done

release: site
	$(GO) run -C tools ./release

demo: build
	$(MAKE) --no-print-directory -C agents GO="$(GO)" OUT="$(CURDIR)/bin/agents" heartbeat
	./demo.sh

# Agents buy a report and rent a machine by x402 on a chain of its own, and die at the worst moments.
demo-pay: x402/x402test/node_modules
	$(GO) test -count=1 -v -run '^TestDemo(Pay|Rent)$$' ./cmd/igor

# A courier that buys reports, by x402 on a chain of its own, and posts them, lives on three nodes in
# three network namespaces: it moves by command, by price and home again, while a node that has it
# is killed and a link is cut. Needs root and iproute2, and what demo-pay needs.
demo-node: build servers x402/x402test/node_modules
	$(GO) build -o bin/ ./cmd/igord-lab
	cd agents && GOOS=wasip1 GOARCH=wasm $(GO) build -buildmode=c-shared -trimpath -ldflags="-s -X main.server=http://127.0.0.1:00000" -o ../bin/agents/courier-lab.wasm ./courier
	rm -rf dist/demo-node && mkdir -p dist
	bin/igord-lab run docs/lab/demo.yaml --out dist/demo-node --node bin/igor-node
	bin/igor history export dist/demo-node/nodes/A/agents/courier -o dist/demo-node/courier.car
	bin/igor-verify dist/demo-node/courier.car
	bin/igor replay dist/demo-node/nodes/A/agents/courier
	@echo
	@echo 'To see it in a browser: make site build, bin/igor site, and choose courier.car and'
	@echo 'courier.handovers of dist/demo-node on its page. Beside them, timeline.svg draws the run.'

# An agent is archived and witnessed, loses its folder, is found by its DID, recovered, and lives a second
# life somewhere else, which is found too. With `make site` before, a browser verifies it.
demo-memory:
	$(GO) test -count=1 -v -run '^TestDemoMemory$$' ./cmd/igor

# What is missing is named before anything is built. Each part can be tested alone.
test:
	@tools/needs.sh base go languages web release
	@$(MAKE) --no-print-directory node_modules x402/x402test/node_modules internal/interop/arweave/node_modules test-go test-languages test-web test-release

# Needs Go and Python alone: what is skipped for want of another program is said before and after.
test-go:
	@tools/needs.sh base
	@$(MAKE) --no-print-directory build agents
	@tools/needs.sh --skip go languages payments arweave
	for m in $(MODULES); do (cd $$m && $(GO) test -timeout 30m ./...) || exit 1; done
	@tools/needs.sh --skip go languages payments

# The SDKs and agents in other languages, each with its own tools.
test-languages: node_modules
	@tools/needs.sh languages
	$(MAKE) --no-print-directory -C sdk test
	$(MAKE) --no-print-directory -C agents test-languages

test-web: site
	@tools/needs.sh web
	GOOS=js GOARCH=wasm $(GO) test -exec "$$($(GO) env GOROOT)/lib/wasm/go_js_wasm_exec" ./verifier/internal/...
	npm run --silent test:run

# The guides of docs/frameworks.md, built with React, Vue, Svelte, Next, Vite and webpack,
# which npm brings: some minutes, and 450 MB in dist.
test-frameworks: site
	@tools/needs.sh web
	npm run --silent types
	node --test --test-timeout=3600000 site/frameworks/frameworks.test.mjs

# A release is made twice, compared, unpacked and run.
test-release: site
	@tools/needs.sh release
	cd tools && $(GO) test -timeout 30m ./release

node_modules: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch node_modules

# A chain, USDC's contract and the reference parts of x402: 160 MB.
x402/x402test/node_modules: x402/x402test/package.json x402/x402test/package-lock.json
	cd x402/x402test && npm ci --no-audit --no-fund
	@touch $@

# Software for Arweave by others: 120 MB.
internal/interop/arweave/node_modules: internal/interop/arweave/package.json internal/interop/arweave/package-lock.json
	cd internal/interop/arweave && npm ci --no-audit --no-fund --ignore-scripts
	@touch $@

# Static checks.
check: node_modules
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -d $$(git ls-files '*.go'); exit 1; }
	for m in $(MODULES) tools; do (cd $$m && $(GO) vet ./...) || exit 1; done
	for a in 386 arm; do GOARCH=$$a $(GO) vet ./cmd/... ./runtime/... ./verifier/... || exit 1; done
	for m in $(MODULES); do (cd $$m && $(GO) tool -modfile=$(CURDIR)/tools/go.mod staticcheck ./...) || exit 1; done
	npx --no-install tsc --noEmit -p .

# What CI does a part of, whole: hours. The figures are in what it prints.
soak: build agents site x402/x402test/node_modules
	@tools/needs.sh go languages release
	@$(MAKE) --no-print-directory -C agents GO="$(GO)" OUT="$(CURDIR)/bin/agents" heartbeat-c
	$(GO) test -timeout 0 -v -run '^TestKill$$' ./archive -archive-kills 500
	$(GO) test -timeout 0 -v -run '^TestUpKill$$' ./cmd/igor -up-kills 1000
	$(GO) test -timeout 0 -v -run '^TestKill' ./cmd/igor -kill-rounds 200
	$(GO) test -timeout 0 -v -run '^TestEveryFile$$' ./cmd/igor -every-damage
	$(GO) test -timeout 0 -v -run 'Disk|PowerCut|PackFaults' ./runtime -every-step
	$(GO) test -timeout 0 -v -run '^TestPackKilled$$' ./runtime -pack-kills 500
	$(GO) test -timeout 0 -v -run '^TestLongLife$$' ./runtime -long-life 100000 # -long-life-dir DIR keeps it, to be measured again
	$(GO) test -timeout 0 -v -run '^TestLongLife$$' ./runtime -long-life 1000000
	$(GO) test -timeout 0 -v -run '^TestMany' ./runtime -agents 1000
	$(GO) test -timeout 0 -v -run '^TestUpSoak$$' ./cmd/igor -soak-small 1000 -soak-go 100 -soak-for 10m
	$(GO) test -timeout 0 -v -run '^TestTwoOwners$$' ./runtime -owner-runs 2000
	$(GO) test -timeout 0 -v -run '^TestTwoOwnersFleet$$' ./runtime -fleet-runs 500
	$(GO) test -timeout 0 -v -run '^TestFaults|^TestLeasesAlone$$' ./authority/etcd -fault-rounds 250
	$(GO) test -timeout 0 -v -run '^TestNode(Faults|LeasesAlone)$$' ./node -node-faults 500
	$(GO) test -timeout 0 -v -run '^TestOnslaught$$' ./node -onslaught 10000
	$(GO) test -timeout 0 -v -run '^TestFleet$$' ./node/keeper -sim-nodes 100 -sim-agents 10000 -sim-time 20m
	$(GO) test -timeout 0 -v -run '^TestPaymentsCrash$$' ./runtime -pay-kills 300
	$(MAKE) --no-print-directory demo-node
	for s in fleet clocks; do rm -rf dist/lab-$$s && $(GO) run ./cmd/igord-lab run docs/lab/$$s.yaml --out dist/lab-$$s || exit 1; done
	cd agents && $(GO) test -timeout 0 -v -run TestCrash ./sentinel ./x402buyer ./deployer -crashes 300 -failpoints
	cd tools && $(GO) test -timeout 0 -v ./release -whole
	$(GO) test -timeout 0 -v -run '^TestSize$$' ./internal/verifycli -whole
	ROUNDS=100 node --test --test-timeout=86400000 --test-name-pattern 'random damage|anything in them' site/test/archive.test.mjs

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
