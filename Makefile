# tqexplore: `make run` opens the explorer on the sample model, `make check` runs all tests.

PREFIX ?= /usr/local
CC ?= cc
BUILD ?= build
WERROR ?=
SANITIZE ?=
LIBS := ncursesw libcjson openblas readline libpcre2-8 libutf8proc

PKG_CFLAGS = $(shell pkg-config --cflags $(LIBS) 2>/dev/null)
PKG_LIBS = $(shell pkg-config --libs $(LIBS) 2>/dev/null)
CFLAGS ?= -O3 -g
TQ_CFLAGS = -std=c11 -D_GNU_SOURCE -I. -pthread -ffp-contract=off -fno-math-errno -Wall -Wextra -Wshadow -Wpointer-arith \
            -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wvla -Wformat=2 $(WERROR) $(SANITIZE) $(PKG_CFLAGS)
TQ_LDFLAGS = -pthread $(SANITIZE) $(LDFLAGS)
TQ_LIBS = $(PKG_LIBS) -lm

FOLDERS := kernels quant model tui
SRC := $(foreach d,$(FOLDERS),$(sort $(wildcard $(d)/*.c)))
OBJ := $(SRC:%.c=$(BUILD)/%.o)
LIB_OBJ := $(filter-out $(BUILD)/tui/main.o,$(OBJ))
TEST_SRC := $(sort $(wildcard tests/test_*.c))
TEST_BIN := $(TEST_SRC:tests/%.c=$(BUILD)/tests/%)
TEST_AUX := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(TEST_SRC),$(sort $(wildcard tests/*.c))))

all: $(BUILD)/tqexplore

# Only these files may use an instruction set that an x86-64 need not have; they run after the CPU was asked.
ARCH := $(shell uname -m)
ifeq ($(ARCH),x86_64)
$(BUILD)/kernels/avx2.o: ISA = -mavx2 -mfma -mf16c
$(BUILD)/kernels/avx2_%.o: ISA = -mavx2 -mfma -mf16c
$(BUILD)/kernels/avx512.o: ISA = -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vbmi -mavx512vnni -mavx512bf16
$(BUILD)/kernels/avx512_%.o: ISA = -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vbmi -mavx512vnni -mavx512bf16
endif

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(TQ_CFLAGS) $(CFLAGS) $(ISA) -MMD -MP -c -o $@ $<

$(BUILD)/tqexplore: $(OBJ)
	$(CC) $(TQ_LDFLAGS) -o $@ $^ $(TQ_LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(TEST_AUX) $(LIB_OBJ)
	$(CC) $(TQ_LDFLAGS) -o $@ $^ $(TQ_LIBS) -lcmocka

tests: $(TEST_BIN)

clean:
	rm -rf $(BUILD)

.PHONY: all tests clean
.SECONDARY:
-include $(OBJ:.o=.d) $(TEST_SRC:%.c=$(BUILD)/%.d)
