# SPDX-License-Identifier: Apache-2.0
# The two commands of a new machine are `make demo` and `make check`; both install what they need first.

BUILD   ?= build
DESTDIR ?=

.PHONY: demo check build bench fuzz install

build:
	tests/setup
	test -f $(BUILD)/build.ninja || meson setup --buildtype=debugoptimized --prefix=/usr $(BUILD)
	ninja -C $(BUILD)

check: build
	tests/lib/check $(BUILD)

demo: build
	tests/e2e/demo $(BUILD)

bench: build
	tests/bench/bench $(BUILD)
	tests/bench/image-build $(BUILD)
	tests/bench/netprobe $(BUILD)
	tests/bench/fleet $(BUILD) 1000 10000

fuzz:
	tests/setup
	tests/fuzz/fuzz $(BUILD)/fuzz

# Uses what `make build` made, so that it can run in a test and as another user.
install:
	test -f $(BUILD)/build.ninja || $(MAKE) build
	DESTDIR="$(DESTDIR)" meson install --quiet --no-rebuild -C $(BUILD)
