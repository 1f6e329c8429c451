# Short names for common tasks. CMakePresets.json does the work, and has more presets.
PREFIX ?= /usr/local
DESTDIR ?=
SECONDS ?= 60

.DEFAULT_GOAL := build
.PHONY: build test campaign demo bench fuzz durability soak install format clean help packages

help:
	@echo 'make            build the libraries, the command and the tests in build/release'
	@echo 'make test       build and run the tests'
	@echo 'make campaign   let the system fail the drivers in every way, at length: a table'
	@echo 'make demo       build and show what weir does'
	@echo 'make bench      build and measure weir beside its peers: text, JSON and a page with charts'
	@echo 'make fuzz       fuzz whatever reads foreign bytes, and the drivers, for SECONDS ($(SECONDS)) each'
	@echo 'make durability cut disks and kill processes for SECONDS, and look what is left (as root)'
	@echo 'make soak       the same, and simulated disks, on and on from run to run'
	@echo 'make install    build and install into PREFIX ($(PREFIX)), below DESTDIR if given'
	@echo 'make format     format every tracked C++ file'
	@echo 'make clean      remove build/'

packages:
	@scripts/install-packages build

build: packages
	cmake --preset release
	cmake --build --preset release

test: build
	ctest --preset release

# docs/campaign.md says what it does. Some faults need root, and are SKIPPED without.
campaign: build
	build/release/tests/campaign --long

demo: build
	python3 tools/demo/demo.py --build build/release

# BENCH_OPTIONS=--quick shows in a minute that everything works. Every program can be run by itself.
bench:
	@scripts/install-packages bench
	cmake --preset release -DWEIR_BUILD_BENCH=ON
	cmake --build --preset release
	scripts/run-benchmarks build/release $(BENCH_OPTIONS)

# What it finds and has not seen before is left in build/fuzz.
fuzz:
	@scripts/install-packages ci
	fuzz/run $(SECONDS)

# DURABILITY_OPTIONS='--seed 7 --resume build/durability': see docs/durability_tests.md. 77: skipped.
durability: build
	build/release/tests/durability --seconds $(SECONDS) $(DURABILITY_OPTIONS) || [ $$? -eq 77 ]

# The seed is printed; goes on where the run before has ended.
soak: build
	build/release/tests/durability --seconds $(SECONDS) --resume build/soak $(DURABILITY_OPTIONS)

# Configured again because Debian's library directory depends on the prefix. ldconfig, because the
# dynamic linker finds a new library through its cache; a staged one is the packager's business.
install: build
	cmake --preset release -DCMAKE_INSTALL_PREFIX='$(PREFIX)'
	DESTDIR='$(DESTDIR)' cmake --install build/release --prefix '$(PREFIX)'
	@if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

format:
	@scripts/install-packages ci
	git ls-files -z -- '*.cc' '*.hpp' | xargs -0 clang-format-19 -i

clean:
	rm -rf build
