# The book and its tests. `make help` lists what can be said; PY=python3.12 picks the interpreter, VENV=... the folder.
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TOOLS := _build/tools
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export JUPYTER_PREFER_ENV_PATH = 1
export OMP_NUM_THREADS ?= 1

.PHONY: help book test fresh notebooks questions nbgrader study live lab serve pdf slides gpu bench lint colab dist clean vendor pages

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r name what; do \
	  printf '  make %-10s %s\n' "$$name" "$$what"; done

book: pages ## run every chapter and build the book
	@echo "The book: $(CURDIR)/_build/html/index.html   (make serve shows it)"

test: $(INSTALLED) vendor ## run every test: package, chapters, notebooks, pages
	@$(BIN)/python tools/suite.py

fresh: $(INSTALLED) ## the property tests with new examples, which differ from run to run
	@HYPOTHESIS_PROFILE=fresh $(BIN)/python -m pytest tests -q -n auto --ignore=tests/pages --ignore=tests/tools

notebooks: $(INSTALLED) ## write the notebook beside each chapter
	@$(BIN)/python tools/execute.py
	@$(BIN)/python tools/notebooks.py

questions: notebooks ## gather what the chapters ask into _build/questions, answers apart
	@$(BIN)/python tools/questions.py _build/questions

nbgrader: notebooks ## the exercises as assignments for nbgrader, into _build/nbgrader
	@$(BIN)/python tools/assignments.py _build/nbgrader

study: $(INSTALLED) ## put the claims on trial under other seeds and machines (ONLY="03 05" for some chapters)
	@$(BIN)/python tools/study.py $(ONLY)

live: $(INSTALLED) ## train the networks that answer in the pages anew, and draw the scans that they show
	@$(BIN)/python tools/live_network.py
	@$(BIN)/python tools/live_data.py

lab: $(INSTALLED) ## open the chapters in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=book

serve: book ## show the book at http://localhost:8000
	@echo "http://localhost:$(or $(PORT),8000)   (Ctrl-C ends)"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(or $(PORT),8000)

pdf: book ## print the whole book into _build/book.pdf (needs Chromium)
	@$(BIN)/python tools/pdf.py

slides: book ## slides of the chapters into _build/slides (ONLY="03 05" for some chapters)
	@$(BIN)/python tools/slides.py $(ONLY)

gpu: $(INSTALLED) ## on a machine with a GPU: tests, benchmarks, chapters at full scale, within LIMIT_S=540 seconds
	@$(BIN)/python tools/gpu.py

bench: $(INSTALLED) ## time medlearn beside its peers
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

lint: $(INSTALLED) $(TOOLS)/.installed ## style, types, chapters, workflows: what is wrong before anything runs
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m mypy
	@$(BIN)/python tools/lint.py
	@$(BIN)/python -m pytest tests/test_project.py -q

colab: $(INSTALLED) ## the student's notebooks in Colab's versions (downloads about 3 GB; needs Python 3.13)
	@COLAB_FREEZE=$(COLAB_FREEZE) $(BIN)/python -m pytest tests/colab.py -q

dist: $(TOOLS)/.installed ## wheel and sdist in dist/, checked (TAG=v0.1.0: and of that version)
	@rm -rf dist build
	@$(TOOLS)/bin/python -m build --outdir dist .
	@$(TOOLS)/bin/twine check --strict dist/*
	@$(TOOLS)/bin/check-wheel-contents dist/*.whl
	@[ -z "$(TAG)" ] || [ -f "dist/medlearn-$(TAG:v%=%).tar.gz" ] || { echo "$(TAG), but built was: $$(ls dist)"; exit 1; }

clean: ## remove what was built (not .venv)
	rm -rf _build build dist medlearn.egg-info .pytest_cache .hypothesis

pages: $(INSTALLED) vendor
	@$(BIN)/python tools/execute.py
	@$(BIN)/python tools/build.py

vendor: $(INSTALLED)
	@$(BIN)/python tools/vendor.py

# The environment -----------------------------------------------------------------------------------------------------

# A name in PATH is not yet an interpreter: version managers leave shims that only complain.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
define find_python
for py in $(or $(PY),python3.11 python3.12 python3.13 python3 python); do \
  if $$py -c '$(FITS)' >/dev/null 2>&1; then found=$$py; break; fi; \
done; \
if [ -z "$$found" ]; then \
  echo "No Python 3.11, 3.12 or 3.13 that runs was found$(if $(PY), under the name $(PY)). Install one:"; \
  echo "  Debian, Ubuntu: sudo apt install python3 python3-venv     macOS: brew install python@3.12     conda: conda create -n py python=3.12"; \
  echo "or name yours:  make PY=/path/to/python"; exit 1; \
fi
endef

define make_venv
$$found -m venv --clear $(VENV) >/dev/null 2>&1 || \
{ $$found -m venv --clear --without-pip $(VENV) && $$found -m pip --python $(BIN)/python install -q pip; } 2>/dev/null || \
{ rm -rf $(VENV); version=$$($$found -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
  echo "$$found cannot make an environment. On Debian and Ubuntu: sudo apt install python$$version-venv"; exit 1; }
endef

$(INSTALLED): pyproject.toml constraints.txt
	@command -v git >/dev/null || { echo "git is missing. Debian, Ubuntu: sudo apt install git   macOS: xcode-select --install"; exit 1; }
	@if $(BIN)/python -c '$(FITS)' 2>/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1; then :; else \
	  $(find_python); echo "Environment: $(VENV), with $$($$found --version)"; $(make_venv); fi
	@echo "Installing what is missing (the first time about 1.3 GB; a minute or two on a fast line)"
	@$(BIN)/python -m pip install -c constraints.txt -e '.[book,dask,dicom,download,lab,onnx,test]'
	@touch $@

# What looks at the project from outside has an environment of its own, and needs no pin beside the book's.
$(TOOLS)/.installed: .github/requirements.txt $(INSTALLED)
	@$(BIN)/python -m venv --clear $(TOOLS)
	@$(TOOLS)/bin/python -m pip install -q -r .github/requirements.txt
	@touch $@
