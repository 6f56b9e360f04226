# make book    run the chapters and build the book (PROFILE=quick: the same in small, in minutes)
# make test    run all tests
# make serve   show the built book at http://localhost:8000 (PORT=...)
# make pdf     print the built book as one PDF, _build/zscir.pdf (needs Chromium; CHROMIUM=... names one)
# make check-pages   look at the built pages: links, other hosts, and with Chromium keyboard, contrast, phones
# make firefox   install Playwright's Firefox, so that the tests open the live figures in it, too
# make clean   remove pages and executed chapters; stored results and .venv stay (make distclean removes all)
#
# `book` and `test` first make the environment .venv; PYTHON names the interpreter to make it with (3.11 or newer).

SHELL   := /bin/bash
PYTHON  ?= python3
PROFILE ?= default
PORT    ?= 8000
BIN     := .venv/bin
READY   := .venv/.installed
CHECK   := .venv/.installed-check
PAGES   := _build/$(if $(filter-out default,$(PROFILE)),$(PROFILE)/_build/)html

.PHONY: book test serve pdf check-pages firefox clean distclean
.DEFAULT_GOAL := book

book: $(READY)
	@echo "== Running the chapters and building the book, profile $(PROFILE)."
	@echo "   quick: some minutes; default: about a quarter of an hour the first time; then only what changed is run."
	@$(BIN)/zscir book --profile $(PROFILE)

test: $(READY)
	@echo "== Running all tests, the chapters in small among them (some minutes)."
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

serve:
	@test -f _build/html/index.html || { echo "There are no pages yet: run 'make book' first." >&2; exit 1; }
	@echo "== http://localhost:$(PORT) (stop with Ctrl-C)"
	@$(PYTHON) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

pdf: $(READY) $(CHECK)
	@echo "== Printing the book, profile $(PROFILE): one page of all chapters, then the PDF (a minute or two)."
	@$(BIN)/zscir pdf --profile $(PROFILE)

check-pages: $(READY) $(CHECK)
	@echo "== Checking the pages in $(PAGES) (some minutes)."
	@$(BIN)/python book/check_pages.py $(PAGES)

firefox: $(CHECK)
	@$(BIN)/python -m playwright install --with-deps firefox

clean:
	@echo "== Removing pages and executed chapters; _build/artifacts and .venv stay."
	@rm -rf book/notebooks book/_assets/mathjax
	@if [ -d _build ]; then find _build -mindepth 1 -maxdepth 1 ! -name artifacts -exec rm -rf {} +; fi

distclean: clean
	@echo "== Removing stored results and .venv."
	@rm -rf _build .venv

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "zscir needs Python 3.11 or newer;\
	 '$(PYTHON)' is not. Name another one: make $(or $(MAKECMDGOALS),book) PYTHON=python3.12" >&2; exit 1; }
	@echo "== Making the environment .venv with $$($(PYTHON) --version) and installing what is missing."
	@echo "   The first time this loads some gigabytes, PyTorch above all: minutes to a quarter of an hour."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(CHECK): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[check]'
	@touch $@
