# Two commands for a newcomer: `make demo` shows fairshare at work, `make check` proves it. `make help` lists all.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo check fmt fmt-check lint test guest fuzz bench deb package-content lintian units deny man install clean

CARGO := cargo
LOCK  := --locked
# Everything that is made goes here and nowhere else.
OUT   := $(CURDIR)/target
LOGS  := $(OUT)/check
# A filter that finds no test passes too: say so.
some-ran = grep -q 'result: ok. [1-9]' $(1) || { echo 'no test ran: the name that is looked for is gone' >&2; exit 1; }
BUILD := $(OUT)/deb-build/fairshare
ROOT  := $(OUT)/deb-root

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "  make %-16s %s\n", $$1, $$2 }' Makefile

demo: deb ## build the package and see fairshare work in a guest (needs Rust, apt and nothing else)
	@.ci/prepare guest
	@mkdir -p $(LOGS)
	@$(CARGO) test --quiet $(LOCK) --test guest -- demo --nocapture | tee $(LOGS)/demo.txt
	@$(call some-ran,$(LOGS)/demo.txt)

# One after the other: what has deadlines has the machine for itself, and guests take all of it. All parts are run,
# whatever comes of one: a finding hides no other.
PARTS := fmt-check lint test deb package-content lintian units man deny fuzz guest
check: ## everything; what .ci/run calls
	@mkdir -p $(LOGS); rm -f $(LOGS)/*; failed=; \
	for part in $(PARTS); do \
		began=$$SECONDS; \
		$(MAKE) --no-print-directory $$part FUZZ_SECONDS=$(CHECK_FUZZ_SECONDS) FUZZ_SEED=1 \
			GUEST_LEAVES='$(CHECK_LEAVES)' || failed+=" $$part"; \
		echo "$$((SECONDS - began)) $$part" >>$(LOGS)/seconds.txt; \
	done; \
	[ -z "$$failed" ] || { echo "make check: failed:$$failed" >&2; exit 1; }

fmt: ## format the source
	$(CARGO) fmt

fmt-check:
	$(CARGO) fmt --check

lint: ## clippy, no warning allowed
	@.ci/prepare build
	$(CARGO) clippy $(LOCK) --all-targets -- -D warnings
	$(CARGO) clippy $(LOCK) --test guest --test bench -- -D warnings

test: ## native tests: any machine, no root
	@.ci/prepare native
	@mkdir -p $(LOGS)
	$(CARGO) test $(LOCK) --no-fail-fast 2>&1 | tee $(LOGS)/native.log

# A thread for each test: how many guests run at once is for tests/guest/slot.rs to say, and which is next. Tests that wait
# for their turn are not news.
GUEST_THREADS := 1000
# What a check leaves out, which has no more than so much time: of the longest tests one of the two, of half of them this and
# of half that one.
CHECK_LEAVES := $(shell cat tests/guest/left-to-make-guest.txt)
GUEST_LEAVES :=
guest: deb ## tests on real systemd: Debian 12 and 13 in QEMU
	@.ci/prepare guest
	@mkdir -p $(LOGS)
	@rm -f $(LOGS)/guest-durations.txt
	$(CARGO) test $(LOCK) --test guest -- --test-threads=$(GUEST_THREADS) --skip bench \
		$(addprefix --skip ,$(GUEST_LEAVES)) 2>&1 \
		| grep --line-buffered -v 'has been running for over 60 seconds$$' | tee $(LOGS)/guest.log
	@$(call some-ran,$(LOGS)/guest.log)

# On the stable toolchain: what a sanitizer would find takes unsafe code, and the targets run none of ours. What it finds
# is kept under tests/fuzz/artifacts; minimised and moved to the corpus, every `make test` replays it.
FUZZ_SECONDS := 60
# 0 is another one each time: who looks for what nobody found yet. A check of the same code is to end as it did before.
FUZZ_SEED := 0
# What was found before is in the corpus, which `make test` replays: less is enough where all the rest is run as well.
CHECK_FUZZ_SECONDS := 20
FUZZ_TARGETS := frames hello call state policy proc
# What libFuzzer sees a program by: a counter for each edge and the operands of comparisons; as cargo-fuzz has it. For the
# host's own name, so that what only builds is not watched.
FUZZ_FLAGS := --cfg=fuzzing -Cpasses=sancov-module $(addprefix -Cllvm-args=-sanitizer-coverage-,level=4 inline-8bit-counters \
	pc-table trace-compares)
FUZZ_HOST := $(shell rustc --version --verbose | sed -n 's/^host: //p')
FUZZ_RUN := $(OUT)/fuzz/$(FUZZ_HOST)/release/fuzz
fuzz: ## 60 s of each fuzz target, two at a time (FUZZ_SECONDS, FUZZ_TARGETS)
	@.ci/prepare fuzz
	@mkdir -p $(LOGS) $(addprefix $(OUT)/fuzz-corpus/,$(FUZZ_TARGETS)) $(addprefix tests/fuzz/artifacts/,$(FUZZ_TARGETS))
	CARGO_TARGET_DIR=$(OUT)/fuzz RUSTFLAGS='$(FUZZ_FLAGS)' \
		$(CARGO) build --release $(LOCK) --target $(FUZZ_HOST) --manifest-path tests/fuzz/Cargo.toml
	@printf '%s\n' $(FUZZ_TARGETS) | xargs -P 2 -I {} $(SHELL) -c 'FAIRSHARE_FUZZ_TARGET={} \
		$(FUZZ_RUN) $(OUT)/fuzz-corpus/{} tests/fuzz/corpus/{} -artifact_prefix=tests/fuzz/artifacts/{}/ \
		-seed=$(FUZZ_SEED) -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 -rss_limit_mb=512 -print_final_stats=1 \
		>$(LOGS)/fuzz-{}.txt 2>&1 || { tail -n 60 $(LOGS)/fuzz-{}.txt; exit 1; }'
	@cd $(LOGS); for target in $(FUZZ_TARGETS); do \
		sed -n "s/^stat::number_of_executed_units: */fuzz: $$target: executions: /p" fuzz-$$target.txt; \
	done

bench: deb ## the tables of README's chapter Speed: the ledger, the wire and events here, the rest in the guest
	@.ci/prepare guest
	@mkdir -p $(LOGS)
	# In memory: what stands in for the kernel's files there must not wait for a disk.
	TMPDIR=$(firstword $(wildcard /dev/shm) /tmp) $(CARGO) test --release $(LOCK) --test bench | tee $(LOGS)/bench-native.txt
	$(CARGO) test $(LOCK) --test guest -- bench --nocapture --test-threads=1 | tee $(LOGS)/bench.txt
	@$(call some-ran,$(LOGS)/bench.txt)

# --- the package -----------------------------------------------------------------------------------------------

# Directories too: their time changes when a file in them goes.
SOURCES := $(shell find src systemd debian policy.d Cargo.toml Cargo.lock README.md LICENSE 2>/dev/null)

deb: $(OUT)/deb/.built ## one target/deb/fairshare_*.deb
	@ls $(OUT)/deb/fairshare_*.deb

# In a copy of the tree, so that the tree stays clean; times are kept, so that cargo sees what is unchanged. With a target
# of its own: cargo would take what was built from the copy for what is in the tree, however that has changed.
$(OUT)/deb/.built: $(SOURCES)
	@.ci/prepare build
	@mkdir -p $(BUILD) $(OUT)/deb
	@touch $(OUT)/deb/.begun # what is edited from now on is not in it
	rm -rf $(BUILD) $(OUT)/deb-build/*.{deb,changes,buildinfo} && mkdir -p $(BUILD)
	tar --create --exclude=./target --exclude=./.git . | tar --extract --directory=$(BUILD)
	cd $(BUILD) && CARGO_TARGET_DIR=$(OUT)/package DEB_BUILD_OPTIONS="nocheck noautodbgsym $${DEB_BUILD_OPTIONS:-}" \
		dpkg-buildpackage --build=binary --unsigned-changes --no-sign
	rm -f $(OUT)/deb/*.deb
	mv $(OUT)/deb-build/fairshare_*.deb $(OUT)/deb/
	mv $(OUT)/deb/.begun $@

# What the package must hold: a man page or completion that came out empty at build time is found here.
CONTENT := usr/bin/fairshare usr/sbin/fairshared etc/fairshare/policy.d/default.yaml usr/lib/sysusers.d/fairshare.conf \
	lib/systemd/system/fairshared.socket lib/systemd/system/fairshared.service lib/systemd/system/fairshare.slice \
	usr/share/man/man1/fairshare.1.gz usr/share/man/man5/fairshare-policy.5.gz \
	usr/share/man/man7/fairshare-protocol.7.gz usr/share/man/man8/fairshared.8.gz \
	usr/share/bash-completion/completions/fairshare usr/share/zsh/vendor-completions/_fairshare \
	usr/share/fish/vendor_completions.d/fairshare.fish usr/share/doc/fairshare/crates.txt \
	usr/share/pam-configs/fairshare-background

$(ROOT)/.unpacked: $(OUT)/deb/.built
	rm -rf $(ROOT) && mkdir -p $(ROOT)
	dpkg-deb --extract $(OUT)/deb/fairshare_*.deb $(ROOT)
	dpkg-deb --control $(OUT)/deb/fairshare_*.deb $(ROOT)/DEBIAN
	touch $@

package-content: $(ROOT)/.unpacked
	@cd $(ROOT); missing=; for file in $(CONTENT); do \
		[ -s "$$file" ] || [ -s "usr/$$file" ] || missing+=" $$file"; \
	done; [ -z "$$missing" ] || { echo "not in the package:$$missing" >&2; exit 1; }
	@grep -qx '/etc/fairshare/policy.d/default.yaml' $(ROOT)/DEBIAN/conffiles
	@echo "package-content: all $(words $(CONTENT)) files are there"

lintian: $(OUT)/deb/.built ## lintian on the package, no error or warning allowed
	@.ci/prepare package
	lintian --allow-root --fail-on error,warning $(OUT)/deb/fairshare_*.deb
	@echo "lintian: no error, no warning"

# systemd's own word on the units that are in the package, with its programs in place of those of this machine.
units: $(ROOT)/.unpacked ## systemd-analyze verify and security
	@.ci/prepare package
	@units=$$(dirname "$$(find $(ROOT) -name fairshared.service)"); checked=$(OUT)/units; \
	rm -rf "$$checked"; mkdir -p "$$checked"; cp "$$units"/* "$$checked"; \
	sed -i 's#=/usr/sbin/fairshared$$#=$(ROOT)/usr/sbin/fairshared#; s#=\(/usr/bin/fairshare \)#=$(ROOT)\1#' "$$checked/fairshared.service"; \
	said=$$(MANPATH=$(ROOT)/usr/share/man systemd-analyze verify "$$checked"/* 2>&1) || true; \
	[ -z "$$said" ] || { echo "$$said" >&2; exit 1; }; \
	systemd-analyze security --offline=true --threshold=7 "$$units/fairshared.service" | tail -n 1

man: ## the hand-written man pages, as groff sees them
	@.ci/prepare package
	@said=$$(for page in debian/man/*.[1-9]; do groff -man -Tutf8 -ww -z "$$page"; done 2>&1); \
	[ -z "$$said" ] || { echo "$$said" >&2; exit 1; }
	@echo "man: no warning"

deny: ## licences and sources of everything that is linked in
	@.ci/prepare deny
	$(CARGO) deny --locked --log-level error check --hide-inclusion-graph licenses bans sources

install: ## installs the package on this machine (systemd must be PID 1)
	@[ -d /run/systemd/system ] || { echo "make install: systemd is not PID 1 here; try 'make demo'" >&2; exit 1; }
	@$(MAKE) --no-print-directory deb
	@printf 'Install %s on this machine? [y/N] ' $(OUT)/deb/fairshare_*.deb; read -r answer; [ "$$answer" = y ]
	$(if $(filter-out 0,$(shell id -u)),sudo) apt-get install --reinstall $(OUT)/deb/fairshare_*.deb

clean: ## removes everything that was made
	$(CARGO) clean
