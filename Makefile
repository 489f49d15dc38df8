# paas: `make demo` shows it, `make test` proves it. Both install and start what is missing on a Debian machine.

CARGO ?= cargo
PREFIX ?= /usr/local

.PHONY: help demo down test lint bench soak fuzz install

help:
	@echo 'make demo     build, start the one-machine platform, push a Python app and fetch its answer'
	@echo 'make down     end the demo: no process and no container of it is left'
	@echo 'make test     every test, with real sshd, git, Docker and registry'
	@echo 'make lint     formatting, lints, and dependencies where cargo-deny is installed'
	@echo 'make bench    measure what the README says about speed, and hold the engine, look-ups of keys and pushes to their limits'
	@echo 'make soak     ten minutes (SECONDS=600) of random changes, deaths and kills of the engine'
	@echo 'make fuzz     a minute (SECONDS=60) of hostile input for each parser; needs cargo-fuzz and a nightly toolchain'
	@echo 'make install  build for production and install to $(PREFIX)'

demo:
	@.ci/demo up

down:
	@.ci/demo down

test:
	@.ci/test

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --features fault-points -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check; else echo 'cargo-deny is not installed: dependencies not checked'; fi

# One after another, so that nothing but what is measured keeps the machine busy.
bench:
	@.ci/test --test main -- --test-threads 1 six_tenths recorded second_push engine_killed gibibyte every_kind rolling_upgrade
	@.ci/test --bench engine
	@.ci/test --bench keys
	@.ci/test --bench push

# SEED repeats what was done, as the run printed it.
SECONDS ?= 600
soak:
	@SOAK_SECONDS='$(SECONDS)' .ci/test --test main -- --nocapture after_a_soak

# What is found new stays below target/; a failing input is in fuzz/artifacts/, and belongs into a test.
fuzz: SECONDS = 60
fuzz:
	@for target in request public_key manifest token; do \
		mkdir -p target/fuzz-corpus/$$target; \
		$(CARGO) +nightly fuzz run --target-dir target/fuzz $$target target/fuzz-corpus/$$target fuzz/corpus/$$target \
			-- -max_total_time='$(SECONDS)' -max_len=65536 -timeout=10 -rss_limit_mb=2048 || exit 1; \
	done

install:
	$(CARGO) build --locked --release --bins
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/man/man1' '$(DESTDIR)$(PREFIX)/share/man/man8'
	install -m 755 target/release/paas target/release/paas-receive '$(DESTDIR)$(PREFIX)/bin/'
	install -m 644 man/*.1 '$(DESTDIR)$(PREFIX)/share/man/man1/'
	install -m 644 man/*.8 '$(DESTDIR)$(PREFIX)/share/man/man8/'
	install -D -m 644 completions/paas.bash '$(DESTDIR)$(PREFIX)/share/bash-completion/completions/paas'
	install -D -m 644 completions/_paas '$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_paas'
	install -D -m 644 completions/paas.fish '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/paas.fish'
