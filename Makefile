# Postroad: everything a person or CI runs. `make help` lists it.
SHELL := /bin/bash
GO ?= go
BIN := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X github.com/postroad/postroad/internal/node.Version=$(VERSION)
TOOL = $(GO) tool -modfile=tools/go.mod

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

.PHONY: build
build: ## build bin/postroad
	@mkdir -p $(BIN)
	$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/postroad ./cmd/postroad

.PHONY: demo
demo: build ## the platform on a practice internet: see what becomes of each sample message
	@$(BIN)/postroad demo

.PHONY: test
test: ## all tests that need nothing but Go
	$(GO) test ./...

.PHONY: race
race: ## the same under the race detector
	@test/race.sh ./...

.PHONY: fuzz
FUZZTIME ?= 10s
fuzz: ## every fuzz target for FUZZTIME (10s)
	@test/fuzz.sh $(FUZZTIME)

.PHONY: check
check: ## formatting, vet, staticcheck, architecture, generated files
	@test/check.sh

.PHONY: interop
interop: build ## real peers from Debian: Postfix, Exim, OpenSMTPD, swaks … (root on Debian)
	@test/interop/run.sh

.PHONY: crash
CRASH_ROUNDS ?= 50
crash: build ## kill -9 under load, then audit (CRASH_ROUNDS=50)
	$(GO) run ./test/crash -rounds $(CRASH_ROUNDS) -postroad $(BIN)/postroad

.PHONY: bench
bench: build ## load through the relay configuration, side by side with Postfix where it is installed
	@test/bench/run.sh

.PHONY: proof
proof: build ## full-size proofs; results go to docs/proof.md
	@test/proof.sh

.PHONY: corpus
CORPUS ?=
corpus: ## classifier accuracy on a folder of real bounces: make corpus CORPUS=dir
	$(GO) run ./test/corpus -corpus "$(CORPUS)"

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BIN)
