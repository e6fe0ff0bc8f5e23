# make test          everything that needs no foreign server but Redis and memcached;
#                    edge on 1, 2 and 8 processors, which takes two minutes of it
# make e2e           whole programs: the gateway in front of real Apache and PHP, a
#                    browser, servers killed under load
# make conformance   the public HTTP cache tests through the gateway
# make fuzz          every fuzz test for a minute
# make stress        the cache for a minute against an oracle, and a tier of them through
#                    100,000 schedules of a model: half an hour
# make soak          aborting, slow, pipelining and upgrading clients of HTTP/1.1 and HTTP/2
#                    for ten minutes: no race, and nothing is in hand afterwards; a drain
#                    of 2,000; the WordPress of make breakages for half an hour, unbroken:
#                    nothing of either gateway grows (SITE_FOR=8m)
# make breakages     a WordPress on three Apaches behind two gateways, broken part by
#                    part, then at random for 10 minutes (RANDOM_FOR=1m), into
#                    docs/breakages.md
# make cost          what the most a request may hold costs, against a plain one: by
#                    time, on a machine that does nothing else
# make bench         the gateway beside nginx, HAProxy, Varnish and Caddy, into
#                    BENCHMARKS.md: half an hour, on such a machine with two CPUs.
#                    BENCH="-run hit" measures a part, BENCH=-quick only tries it
# make profile       where the gateway spends its time, into examples/gateway/default.pgo,
#                    which the compiler reads: two minutes, on such a machine
# make release       whether this may be tagged as VERSION=v0.1.0: what of the API has
#                    changed since the release before, and whether it may have
#
# All install what they need (Debian's packages, pinned Go tools). make check is
# the part of make test that runs no code: formatting, vet, other systems,
# staticcheck, govulncheck.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
GORELEASE = golang.org/x/exp/cmd/gorelease@v0.0.0-20261113113407-e3970619a1a4

# Where it builds beside Linux.
SYSTEMS = darwin freebsd windows

# What needs other libraries to compare with lives in modules of its own.
MODULES = $(shell find . -mindepth 2 -name go.mod -not -path '*/node_modules/*' -exec dirname {} +)

# How long make breakages breaks at random.
RANDOM_FOR = 10m

# How long make soak has visitors at the WordPress.
SITE_FOR = 30m

.PHONY: test e2e conformance fuzz stress soak breakages cost bench profile release check install install-e2e install-bench

# The gateway's profile changes what is inlined, for which all that it stands on is
# compiled once more, for each system. make e2e tests what is built with it.
test check: export GOFLAGS += -pgo=off

test: install check
	go test -race -timeout 20m ./...
	go test -race -timeout 20m -cpu 1,2,8 ./router/edge/...
	for dir in $(MODULES); do (cd $$dir && go vet ./... && go test ./...) || exit 1; done

e2e: install install-e2e
	go test -tags e2e -count=1 -p 1 -timeout 20m -v -run '^TestE2E' ./...
	go run ./examples/shop -tour

# Fails when the scorecard in cache/CONFORMANCE.md has got worse.
conformance:
	@command -v npm >/dev/null || ./.ci/install nodejs npm
	go run ./cache/conformance

fuzz:
	./.ci/fuzz 60s

stress: install
	FORETIER_STRESS=60s go test -race -count=1 -timeout 10m -run TestStress -v ./cache
	FORETIER_MODEL=100000 go test -count=1 -timeout 3h -run TestModel -v ./cache

soak: install install-e2e
	FORETIER_SOAK=10m go test -race -count=1 -timeout 20m -run TestSoak -v ./router/edge
	FORETIER_DRAIN=2000 go test -count=1 -timeout 10m -run TestADrainOfMany -v ./router/edge
	FORETIER_SITE_SOAK=$(SITE_FOR) go test -tags e2e -count=1 -timeout 1h -run TestSoak -v ./examples/site

breakages: install install-e2e
	FORETIER_SITE_TABLE=../../docs/breakages.md FORETIER_SITE_RANDOM=$(RANDOM_FOR) go test -tags e2e -count=1 -timeout 30m -run TestE2EBreakages -v ./examples/site

cost:
	go test -tags cost -count=1 -run TestNoFieldBuysWork -v ./examples/gateway

bench: install-bench
	cd internal/bench && go run . -o ../../BENCHMARKS.md $(BENCH)

profile: install-bench
	cd internal/bench && go run . -profile ../../examples/gateway/default.pgo

release:
	./.ci/gorelease $(GORELEASE) $(VERSION)

# What can be said of the code without running it.
check:
	@unformatted="$$(gofmt -l .)"; test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	go vet ./...
	go vet -tags e2e ./...
	for os in $(SYSTEMS); do GOOS=$$os go vet ./... || exit 1; done
	go run $(STATICCHECK) ./...
	./.ci/govulncheck $(GOVULNCHECK)

# gcc and libc6-dev: the race detector needs cgo.
install:
	./.ci/install gcc libc6-dev redis-server memcached php-cli php-redis php-memcached \
		mariadb-server galera-4 postgresql php-fpm nginx

install-e2e:
	./.ci/install curl apache2 libapache2-mod-php nginx haproxy varnish chromium nodejs nghttp2-client systemd \
		wordpress wordpress-theme-twentytwentythree php-mysql php-gd php-xml php-mbstring rsync

install-bench:
	./.ci/install gcc libc6-dev nginx haproxy varnish wrk nghttp2-client strace php-fpm
