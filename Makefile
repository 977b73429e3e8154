# SPDX-License-Identifier: MIT
# llm - tokens as an operating-system service.
#   make           everything into build/
#   make demo      install what is needed, build, show it (demo-vm: with the kernel module)
#   make check     install what is needed, build, run every test
#   make quick     unit, small ops, system over the socket: at each save
#   make install   PREFIX=/usr/local DESTDIR=
#   make deb       Debian packages into build/deb
#   make lint | bench | bench-peers | torture | sim [SEED=] | fuzz [ROUNDS=] | clean
#   make kmod | check-kmod | check-kmod-debug    the kernel module (tests/kmod/kmod.mk)
#   make cuda | check-cuda | check-gpu           CUDA kernels (tests/cuemu/cuda.mk)
#   make compile_commands.json    for editors
# SAN=address,undefined or SAN=thread builds into build/<san>; CC=clang works.
# MARKS=1 builds the daemon with the torture's kill points and planted bugs.

CC ?= cc
SAN ?=
MARKS ?=
empty :=
space := $(empty) $(empty)
comma := ,
B ?= build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))$(if $(MARKS),/marks)
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
SOVERSION := 0

CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wvla -Wno-unused-parameter -Wno-missing-field-initializers $(if $(WERROR),-Werror)
PKGS := jansson libpcre2-8 libutf8proc libsodium
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null || echo -ljansson -lpcre2-8 -lutf8proc -lsodium)
HAVE_URING := $(shell pkg-config --exists 'liburing >= 2.1' 2>/dev/null && echo 1)
HAVE_LIBNL := $(shell pkg-config --exists libnl-genl-3.0 2>/dev/null && echo 1)

# -ffp-contract=off: a rounding happens where the source says so, nowhere else
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -DLLM_VERSION='"$(VERSION)"' -I. -Iinclude \
	-Iinclude/uapi $(WARN) $(CFLAGS) -fPIC -ffp-contract=off -pthread $(PKG_CFLAGS) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer) $(if $(MARKS),-DLLM_MARKS)
ALL_LDFLAGS = $(LDFLAGS) -pthread $(if $(SAN),-fsanitize=$(SAN))
LIBS = $(PKG_LIBS) -lm -ldl

# ---- what is where: a folder is found, not listed
src = $(sort $(wildcard $(1)/*.c))
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
BASE_SRC := $(call src,base) $(call src,text) $(call src,checkpoint)
KERN_SRC := $(call src,kernels) $(call src,kernels/ref) $(call src,kernels/cpu)
DAEMON_SRC := $(call src,daemon/core) $(call src,daemon/model) $(call src,daemon/comm) \
	$(filter-out daemon/main.c,$(call src,daemon))
CLIENT_SRC := $(call src,libclient)
MAIN_SRC := $(wildcard daemon/main.c)
TOOL_MAINS := $(wildcard tools/llm.c tools/llmctl.c)
TOOL_SRC := $(filter-out $(TOOL_MAINS) $(if $(HAVE_LIBNL),,tools/ctl_nl.c),$(call src,tools))
EXAMPLE_SRC := $(call src,examples)
TEST_SRC := $(call src,tests/unit) $(call src,tests/ops) $(call src,tests/model) \
	$(call src,tests/system) $(call src,tests/sim) $(call src,tests/fuzz)
BENCH_SRC := $(call src,tests/bench)
PEER_SRC := $(filter-out %/llama.c,$(call src,tests/bench/peers))
TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(TEST_SRC))
BENCHES := $(patsubst tests/%.c,$(B)/tests/%,$(BENCH_SRC))
EXAMPLES := $(patsubst %.c,$(B)/%,$(EXAMPLE_SRC))
ifeq ($(HAVE_URING),)
EXAMPLES := $(filter-out %uring,$(EXAMPLES))
endif

BINS := $(if $(MAIN_SRC),$(B)/llmd) $(patsubst tools/%.c,$(B)/%,$(TOOL_MAINS))
CLIENT_LIBS := $(if $(CLIENT_SRC),$(B)/libllmclient.a $(B)/libllmclient.so)

all: $(BINS) $(CLIENT_LIBS) $(EXAMPLES)
	@$(if $(HAVE_LIBNL),:,echo "note: no libnl-genl-3: llmctl speaks to the socket only")
	@echo "note: the CUDA backend is made by make cuda$(if $(NVCC),, (no nvcc is here))"

# ---- objects; the AVX files carry their own flags.  -fno-tree-ter and
# -fno-tree-reassoc keep the register tiles from spilling (measured, gcc).  UBSan's
# checks of pointers are left out of them: gcc took twice as long (CPU minutes)
GCCFLAGS_TILE := $(shell $(CC) --version 2>/dev/null | grep -qi clang || \
	echo -fno-tree-ter -fno-tree-reassoc \
	$(if $(findstring undefined,$(SAN)),-fno-sanitize=null$(comma)alignment$(comma)object-size$(comma)pointer-overflow))
$(B)/obj/kernels/cpu/%_avx2.o: TILE = -O3 -mavx2 -mfma -mf16c $(GCCFLAGS_TILE)
$(B)/obj/kernels/cpu/%_avx512.o: TILE = -O3 -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl $(GCCFLAGS_TILE)
$(B)/obj/kernels/cpu/%_vnni.o: TILE = -O3 -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni $(GCCFLAGS_TILE)
$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(TILE) -MMD -MP -c -o $@ $<

$(B)/libllmbase.a: $(call obj,$(BASE_SRC))
$(B)/libllmkernels.a: $(call obj,$(KERN_SRC))
$(B)/libllmdaemon.a: $(call obj,$(DAEMON_SRC))
$(B)/libllmtools.a: $(call obj,$(TOOL_SRC))
$(B)/libllmclient.a: $(call obj,$(CLIENT_SRC))
$(B)/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

$(B)/libllmclient.so: $(call obj,$(CLIENT_SRC)) libclient/libllmclient.map
	$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libllmclient.so.$(SOVERSION) \
		-Wl,--version-script=libclient/libllmclient.map -o $@ $(filter %.o,$^)
	ln -sf libllmclient.so $(B)/libllmclient.so.$(SOVERSION)

NL_LIBS := $(if $(HAVE_LIBNL),$(shell pkg-config --libs libnl-genl-3.0))
$(B)/obj/tools/llmctl.o $(B)/obj/tools/ctl_nl.o: ALL_CFLAGS += \
	$(if $(HAVE_LIBNL),-DHAVE_LIBNL $(shell pkg-config --cflags libnl-genl-3.0))
DAEMON_LIBS := $(B)/libllmdaemon.a $(B)/libllmkernels.a $(B)/libllmbase.a
TOOL_LIBS := $(B)/libllmtools.a $(if $(CLIENT_SRC),$(B)/libllmclient.a) $(B)/libllmkernels.a $(B)/libllmbase.a
$(B)/llmd: $(call obj,$(MAIN_SRC)) $(DAEMON_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(DAEMON_LIBS) $(LIBS)
$(patsubst tools/%.c,$(B)/%,$(TOOL_MAINS)): $(B)/%: $(B)/obj/tools/%.o $(TOOL_LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $< $(TOOL_LIBS) $(LIBS) $(if $(findstring llmctl,$@),$(NL_LIBS))
$(B)/examples/%: $(B)/obj/examples/%.o $(B)/libllmclient.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $< $(B)/libllmclient.a $(if $(findstring uring,$@),-luring)
$(B)/tests/%: $(B)/obj/tests/%.o $(DAEMON_LIBS) $(TOOL_LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(sort $(DAEMON_LIBS) $(TOOL_LIBS)) \
		-Wl,--end-group $(LIBS) $(if $(HAVE_URING),-luring)
$(B)/obj/tests/%.o: ALL_CFLAGS += $(if $(HAVE_URING),-DHAVE_URING)
include tests/cuemu/cuda.mk
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

tests: all $(TESTS) $(if $(SAN)$(MARKS),,$(if $(MAIN_SRC),marks))
# the daemon that the torture kills: marked points, planted bugs
marks: $(if $(SAN)$(MARKS),,all)
	@$(MAKE) --no-print-directory -s MARKS=1 B=$(B)/marks $(B)/marks/llmd
objs: $(call obj,$(BASE_SRC) $(KERN_SRC) $(DAEMON_SRC) $(CLIENT_SRC) $(MAIN_SRC) $(TOOL_SRC) \
	$(TOOL_MAINS) $(EXAMPLE_SRC) $(TEST_SRC) $(BENCH_SRC) $(PEER_SRC)) $(CUEMU_OBJ)
benches: all $(BENCHES)

# ---- the targets people type
# (what setup installs is found by a make that starts after it)
INNER = @$(MAKE) --no-print-directory -s $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
setup:
	@tests/setup.sh build
demo: setup
	$(INNER) all $(B)/tests/demo/demo
	@$(B)/tests/demo/demo $(B)/llmd models/manpages-2m
check:
	@tests/setup.sh check
	$(INNER) tests cuda-tests
	@tests/run -b $(B) -a
quick: tests
	@tests/run -b $(B) -q
lint:
	@tests/lint/run
bench: benches
	@tests/bench/run $(B)
torture: marks $(B)/tests/system/test_torture
	@LLM_BUILD=$(B) $(B)/tests/system/test_torture long
# one seed again, or (without) many more of them than the test runs
sim: $(B)/tests/sim/test_sim
	@$(if $(SEED),LLM_SIM_SEED=$(SEED)) LLM_SIM_RUNS=$(RUNS) $<
RUNS ?= 1000
ROUNDS ?= 200000
fuzz:
	$(INNER) SAN=address,undefined tests
	@LLM_FUZZ_ROUNDS=$(ROUNDS) LLM_TEST_S=36000 LLM_VERBOSE=1 tests/run -b build/san-address-undefined fuzz/
compile_commands.json: Makefile
	@$(MAKE) --no-print-directory -Bn objs | awk -v dir='$(CURDIR)' 'BEGIN { print "[" } \
		/ -c -o / { c = $$0; gsub(/["\\]/, "\\\\&", c); printf "%s{\"directory\": \"%s\", \"file\": \"%s\", \
		\"command\": \"%s\"}\n", n++ ? "," : "", dir, $$NF, c } END { print "]" }' >$@
clean:
	rm -rf build compile_commands.json

include packaging/install.mk packaging/deb.mk tests/kmod/kmod.mk tests/vm/vm.mk tests/bench/peers/peers.mk
.PHONY: all tests marks objs benches setup demo check quick lint bench torture sim fuzz clean
.DELETE_ON_ERROR:
.SECONDARY:
