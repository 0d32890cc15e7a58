# assay. "make help" lists what can be made.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null | sed -E 's/^([0-9a-f]{7,40})/0.1.0-\1/' | grep . || echo 0.1.0)
LDFLAGS := -s -w -X assay.Version=$(VERSION)
ARCH    := $(shell go env GOARCH)

# The programs for guests: every assay brings those of the usual processors, for
# a hypervisor may be on a machine unlike this one.
AGENTS := $(sort amd64 arm64 $(ARCH))
AGENTS := $(AGENTS:%=cmd/assay/agent/assay-agent-%)

# What the tests with real guests need, and which skips are failures.
IMAGES    := debian-11 debian-12 debian-13
MUST_RUN  ?= qemu,libvirt,incus,agent,tools,sqlite3,processes,xattrs
TESTFLAGS ?=

# What tests use beyond what assay needs: firmware for UEFI guests, partitions and
# file systems for the stand-in of a cloud image, oracles, and hypervisors.
TEST_PACKAGES := ovmf cpio sqlite3 fdisk dosfstools mtools \
                 libvirt-daemon-system libvirt-clients virtinst qemu-guest-agent btrfs-progs
AS_ROOT       := $(shell test "$$(id -u)" = 0 || echo sudo)

.DEFAULT_GOAL := build
.PHONY: build agent demo test test-tools test-fast suite bench generate check clean help FORCE

build: agent ## Build bin/assay, with the agents inside
	@mkdir -p bin
	go build -ldflags '$(LDFLAGS)' -o bin/assay ./cmd/assay

agent: $(AGENTS)

# An agent is copied only when it changed: images know it by its digest.
$(AGENTS): cmd/assay/agent/assay-agent-%: FORCE
	@CGO_ENABLED=0 GOOS=linux GOARCH=$* go build -trimpath -buildvcs=false -ldflags '-s -w' -o $@.new ./cmd/assay-agent
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

demo: build ## Test two sample skills in a real VM; needs only Go, gcc and apt
	bin/assay doctor --fix
	bin/assay image build debian-12
	@bin/assay run scripts/skill.star --image debian-12; code=$$?; \
	  test $$code -le 1 || exit $$code # 1: the flawed sample fell short, as it should
	@echo; bin/assay history -n 3

test: build test-tools ## Run the whole suite, real VMs included, and install what it needs
	bin/assay doctor --fix
	bin/assay image build $(IMAGES)
	ASSAY_MUST_RUN='$(MUST_RUN)' go test -p 1 -timeout 45m $(TESTFLAGS) ./...

# Debian 12 has no Incus of its own, but LXD, which the same driver drives.
test-tools:
	@missing=; need() { for p; do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; }; \
	need $(TEST_PACKAGES); \
	dpkg -s incus-base >/dev/null 2>&1 || need lxd lxd-client; \
	test -z "$$missing" || { echo "the tests need$$missing; installing"; \
	  $(AS_ROOT) apt-get update -q && $(AS_ROOT) apt-get install -y -q --no-install-recommends $$missing; }

test-fast: build ## Run the tests that need no VM, in seconds
	ASSAY_HOME='$(CURDIR)/out/none' go test -short -timeout 10m $(TESTFLAGS) ./...

suite: build test-tools ## Run the drivers' suite, and write the table of what it proved
	bin/assay doctor --fix
	bin/assay image build debian-12
	ASSAY_MUST_RUN='$(MUST_RUN)' go test -json -count=1 -p 1 -timeout 45m $(TESTFLAGS) \
	  $$(go list ./drivers/... | grep -v /drivers/all) | go run ./drivers/all/suite -o docs/suite.md

bench: build ## Compare assay with its peers, and record it; BENCHFLAGS='-only launch,exec -n 3', see docs/bench.md
	go build -ldflags '$(LDFLAGS)' -o bin/bench ./bench
	bin/assay doctor --fix
	bin/bench -install $(BENCHFLAGS)

generate: build ## Write the generated files again: the stub and the reference of the verbs, the page of the drivers
	bin/assay doc --stub > builtins/api.py
	bin/assay doc --reference > docs/reference.md
	bin/assay doc --drivers > docs/drivers.md

check: generate ## What a commit must pass: format, vet, tidy, no stale generated file, cross-build
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go mod tidy -diff
	git diff --exit-code -- builtins/api.py docs/reference.md docs/drivers.md
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 go build ./...
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 go build ./...

clean: ## Remove what was built here; images and results stay in the state folder
	rm -rf bin out cmd/assay/agent/assay-agent-*

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12
