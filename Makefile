# `make help` lists the targets. Variables of `make run` are in docs/settings.md; make
# passes those of its command line, and the environment, to what it runs.

VENV := .venv
BIN := $(VENV)/bin
COMMAND := $(BIN)/python -m registry_proxy
# Processes of `make test`: more than two cores, because tests of servers often wait.
WORKERS ?= 4
SOURCES := addon.py registry_proxy cause mitm resolver localcloud pull demo report live soak bench tests tools/size

.DEFAULT_GOAL := help
.PHONY: help install install-runtime install-demo run demo debug-demo web console report screenshots trust watch unit test fuzz soak capacity bench dist image pull prefetch cache resolve check format requirements sbom clean distclean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: ## set up .venv for everything; targets set up what they need by themselves
	@VENV=$(VENV) tools/install everything

install-runtime:
	@VENV=$(VENV) tools/install runtime

install-demo:
	@VENV=$(VENV) tools/install demo

run: install-runtime ## serve balenaCloud, or what the variables say
	@exec $(COMMAND) run

demo: install-demo ## pull a sample release through the proxy, offline; ONCE=1 ends after it
	@exec $(COMMAND) demo

debug-demo: install-demo ## the same with good and bad pulls, to look at in mitmweb
	@exec $(COMMAND) debug-demo

web: install-runtime ## like run, with mitmweb to look at what clients and registry say
	@exec $(COMMAND) web

console: install-runtime ## the same in the terminal, with mitmproxy
	@exec $(COMMAND) console

report: install-runtime ## make a page of FLOWS=<saved flow file>, to attach to a bug report
	@$(COMMAND) report "$$FLOWS" $(if $(OUT),-o "$$OUT")

watch: install-runtime ## show pulls in the terminal, of PAGE=<address from the log> or LOG=<log as JSON>
	@exec $(COMMAND) watch $(if $(PAGE),--page "$$PAGE") $(if $(LOG),"$$LOG")

trust: install-runtime ## print what makes clients trust the proxy at HOST=<host>[:<port>]
	@$(COMMAND) trust "$$HOST"

unit: install ## run the tests that start no servers
	$(BIN)/python -m pytest -q --numprocesses=auto -m "not server" $(addprefix --ignore=tests/,browser client container golden integration)

test: install ## run every test that this machine can run
	$(BIN)/python -m pytest --numprocesses=$(WORKERS)

screenshots: install ## take the pictures of the documentation again
	@$(BIN)/python -m tests.browser.screenshot

fuzz: install ## try each property of tests/fuzz for SECONDS=60
	FUZZ_SECONDS=$(or $(SECONDS),60) $(BIN)/python -m pytest -q tests/fuzz

soak: install ## pull, fail and misbehave for MINUTES=20, and see what grows
	@$(BIN)/python -m soak

capacity: install ## measure what one replica can do
	@$(BIN)/python -m bench --capacity --rounds 3 --seconds 3 $(ARGS)

bench: install ## compare with doing without the proxy, and with PEER=<folder or URL>
	@$(BIN)/python -m bench $(ARGS)

dist: install ## build the source distribution and the wheel into dist/
	@VENV=$(VENV) tools/dist

image: ## build the container image; BUILD_ARGS go to the builder, as --no-cache
	@tools/image $(BUILD_ARGS)

pull: install-runtime ## pull REF=<reference> step by step, and say what is wrong; OUTPUT=<folder> keeps it
	@$(COMMAND) pull $(if $(OUTPUT),--output "$$OUTPUT") "$$REF"

prefetch: install-runtime ## let the running proxy keep REF='<reference> …', or fill CACHE=<folder> FROM=oci:<folder>
	@$(COMMAND) prefetch $(if $(FROM),--from "$$FROM") $$REF

cache: install-runtime ## list what CACHE=<folder> has; DO=check and DO=prune do that
	@$(COMMAND) cache $$DO

resolve: install-runtime ## show what REF=<org>/<app>[/<version>] stands for; ALL=1 lists the releases
	@$(COMMAND) resolve $(if $(ALL),--all) "$$REF"

check: install ## format, lint and types
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy $(SOURCES)

format: install ## format the code
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

requirements: install ## pin the newest versions that fit pyproject.toml, and measure them
	$(BIN)/uv pip compile --quiet --universal --python-version 3.12 --upgrade --generate-hashes --no-header pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.12 --upgrade --generate-hashes --no-header pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.12 --upgrade --generate-hashes --no-header --group localcloud -c requirements-dev.txt -o requirements-localcloud.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.12 --upgrade --generate-hashes --no-header --group install -c requirements-dev.txt -o requirements-uv.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.12 --upgrade --generate-hashes --no-header --group build -c requirements-dev.txt -o requirements-build.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.12 --upgrade --generate-hashes --no-header --group bill -c requirements-dev.txt -o requirements-bill.txt
	@$(BIN)/python tools/size

sbom: install ## write what the proxy runs on to OUT=sbom.json, a CycloneDX bill of materials
	@$(BIN)/python -W ignore -m cyclonedx_py requirements requirements.txt --pyproject pyproject.toml --output-reproducible -o "$(or $(OUT),sbom.json)"

clean: ## remove what the targets made, but for the authority that clients trust
	rm -rf $(VENV) tests/integration/balena/node_modules bench/node/node_modules dist sbom.json .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove that authority as well, after its fingerprint was shown
	@[ ! -d .mitmproxy ] || echo "removing .mitmproxy and the certificate authority in it, which clients may trust:"
	@[ ! -f .mitmproxy/mitmproxy-ca-cert.pem ] || openssl x509 -noout -fingerprint -sha256 -in .mitmproxy/mitmproxy-ca-cert.pem || true
	rm -rf .mitmproxy
