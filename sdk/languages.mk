# How agents in other languages than Go are built here; agents/Makefile and sdk/Makefile include it.
# What igor new makes has a Makefile of its own.

SDK     := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
TARGETS ?= $(SDK)/../bin/languages
WASM32  := wasm32-unknown-unknown

# The Rust in PATH need not have WebAssembly; Debian's has, with libstd-rust-dev-wasm32.
has_wasm = test -d "$$($(1) --print target-libdir --target $(WASM32) 2>/dev/null)"
CARGO = if ! $(call has_wasm,rustc); then PATH="/usr/bin:$$PATH"; fi; CARGO_TARGET_DIR="$(TARGETS)" cargo

ASC    = $(SDK)/../node_modules/.bin/asc --config $(SDK)/assemblyscript/asconfig.json
CFLAGS = -std=c11 -Wall -Wextra -Werror -I$(SDK)/c

# One program: make program-LANGUAGE FROM=FOLDER NAME=heartbeat TO=FILE.wasm. Cargo names a program after
# its crate alone, and would take what another crate of that name left there for its own.
program-rust:
	rm -f $(TARGETS)/$(WASM32)/release/deps/$(NAME).wasm
	$(CARGO) build --quiet --offline --release --target $(WASM32) --manifest-path $(FROM)/Cargo.toml
	cp $(TARGETS)/$(WASM32)/release/$(NAME).wasm $(TO)

program-c:
	clang --target=wasm32-wasi -mexec-model=reactor $(CFLAGS) -Os -flto -Wl,--export=malloc -Wl,--strip-all -o $(TO) $(FROM)/$(NAME).c

program-assemblyscript:
	$(ASC) $(FROM)/$(NAME).ts --outFile $(TO)

# Its tests, which need no igor.
native-rust:
	$(CARGO) test --quiet --offline --manifest-path $(FROM)/Cargo.toml

native-c:
	@mkdir -p $(TARGETS)
	cd $(FROM) && $(CC) $(CFLAGS) -g -fsanitize=address,undefined -o $(TARGETS)/$(NAME)_test $(NAME)_test.c
	cd $(FROM) && ASAN_OPTIONS=detect_leaks=0 $(TARGETS)/$(NAME)_test

native-assemblyscript:
	@mkdir -p $(TARGETS)
	$(MAKE) --no-print-directory program-assemblyscript TO=$(TARGETS)/$(NAME)-assemblyscript.wasm
	PROGRAM=$(TARGETS)/$(NAME)-assemblyscript.wasm node --test --test-reporter=dot $(FROM)

.PHONY: program-rust program-c program-assemblyscript native-rust native-c native-assemblyscript
