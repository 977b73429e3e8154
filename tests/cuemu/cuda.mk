# SPDX-License-Identifier: MIT
# The CUDA kernels (kernels/cuda) and their tests (tests/cuemu).
#   make check-cuda   the kernels' own source on this CPU: no GPU, no nvcc
# MUTANTS=all: every planted bug, not the short list.
ifeq ($(origin CXX),default)
CXX := $(if $(findstring clang,$(CC)),clang++,g++)
endif
MUTANTS ?= few
CUDA_SRC := $(sort $(wildcard kernels/cuda/*.cu))
CUEMU_SRC := $(sort $(wildcard tests/cuemu/test_*.cu))

# ---- on the host; what the C compiler is told, less what C++ does not know
HAVE_CUEMU := $(if $(SAN)$(MARKS),,$(shell command -v $(CXX) >/dev/null && \
	[ "$$(uname -m)" = x86_64 ] && echo 1))
CUEMU_FLAGS = -std=c++17 -I. $(filter-out -Wstrict-prototypes -Wmissing-prototypes -Wnested-externs \
	-Wold-style-definition -Wjump-misses-init -Wduplicated-branches,$(WARN) $(CFLAGS)) -Wno-unknown-pragmas \
	$(if $(findstring clang,$(CXX)),-Wno-pass-failed) -ffp-contract=off -U_FORTIFY_SOURCE \
	-include tests/cuemu/cuemu.h
CUEMU_OBJ := $(if $(HAVE_CUEMU),$(patsubst %.cu,$(B)/obj/cuemu/%.o,$(CUDA_SRC) $(CUEMU_SRC)))
CUEMU_TESTS := $(if $(HAVE_CUEMU),$(patsubst tests/%.cu,$(B)/tests/%,$(CUEMU_SRC)))
$(B)/obj/cuemu/%.o: %.cu
	@mkdir -p $(@D)
	$(CXX) $(CUEMU_FLAGS) -MMD -MP -x c++ -c -o $@ $<
$(B)/tests/cuemu/%: $(B)/obj/cuemu/tests/cuemu/%.o $(filter %.o,$(patsubst %.cu,$(B)/obj/cuemu/%.o,$(CUDA_SRC)))
	@mkdir -p $(@D)
	$(CXX) -o $@ $^
cuda-tests: $(CUEMU_TESTS)
check-cuda:
	$(INNER) cuda-tests
	@MUTANTS=$(MUTANTS) CXX="$(CXX)" tests/run -b $(B) cuemu/

.PHONY: cuda-tests check-cuda
