# CONTRIBUTING.md says what each target is for.

GO ?= go
GOLANGCI_LINT ?= $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The race detector needs a C compiler. Without one the tests run all the same,
# and say what is missing; .ci/run sees to it that there is one.
RACE ?= $(if $(shell command -v $$($(GO) env CC) 2>/dev/null),-race)

# The tests wait more than they work, so more packages run than there are cores.
PARALLEL ?= 4

# Every one of these packages has to have MIN_COVERAGE percent.
COVERED := . ./events ./natswrap/... ./natstest ./natstest/natsserver ./natstest/stanserver ./inbox/... \
	./outbox ./outbox/outboxtest ./outbox/postgres ./outbox/sqlite ./otelwrap ./slogwrap ./deadletter
MIN_COVERAGE := 85

.DEFAULT_GOAL := test
.PHONY: test interop fuzz bench soak cover lint vet fmt-check tidy-check size-check

test:
	@$(if $(RACE),:,echo "no C compiler ($$($(GO) env CC)): running without the race detector")
	@command -v node >/dev/null && command -v npm >/dev/null || echo "no node or no npm: the interop test will be skipped"
	@.ci/postgres || echo "the PostgreSQL tests will be skipped"
	$(GO) test $(RACE) -timeout 10m -p $(PARALLEL) ./...

# The tests against the Node package alone; missing node or npm is a failure.
interop:
	TICKETING_REQUIRE_INTEROP=1 $(GO) test $(RACE) -timeout 10m -count 1 -v ./interop

# Each fuzz target in turn. FUZZTIME may be a number of executions, 20000x, which
# does not fail by chance when the time is over (go.dev/issue/75804).
FUZZTIME ?= 10s
fuzz:
	@set -e; for target in $$(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9]+' . | sed 's/func //'); do \
		package=$$(dirname "$${target%%:*}"); name=$${target##*:}; \
		echo "==> $$name in $$package"; \
		$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$package"; \
	done

bench:
	$(GO) run ./internal/bench
	$(GO) test -run '^$$' -bench Create ./examples/tickets/internal/api
	$(GO) run ./examples/tickets/load -n 20000
	$(GO) test -run '^$$' -bench Once -benchtime 20x ./inbox
	$(GO) test -run '^$$' -timeout 30m -bench Outbox -skip /backlog -benchtime 9x ./outbox/postgres ./outbox/sqlite
	$(GO) test -run '^$$' -timeout 30m -bench Outbox/backlog -benchtime 1x ./outbox/postgres ./outbox/sqlite

# SOAK are its flags: SOAK=-short, SOAK='-for 30m -seed 42'.
soak:
	$(GO) run ./internal/soak $(SOAK)

cover:
	$(GO) test -timeout 10m -coverprofile coverage.out -coverpkg "$$(echo $(COVERED) | tr ' ' ,)" $(COVERED)
	.ci/coverage $(MIN_COVERAGE) coverage.out

lint:
	$(GOLANGCI_LINT) run

vet:
	$(GO) vet ./...

fmt-check:
	@files="$$(gofmt -l .)"; test -z "$$files" || { echo "not formatted, run gofmt -w on:"; echo "$$files"; exit 1; }

tidy-check:
	$(GO) mod tidy -diff

# A program that was built in the tree is easily committed with it.
size-check:
	@git ls-tree -rl HEAD | awk '$$4 > 1048576 { print "larger than 1 MiB: " $$5; bad = 1 } END { exit bad }'
