# SPDX-License-Identifier: MIT
# The CUDA kernels (kernels/cuda) and their tests (tests/cuemu).
#   make check-cuda   the kernels' own source on this CPU: no GPU, and nvcc only
#                     for make cuda, where it is
#   make cuda         libllm-cuda.so for sm_80 and sm_90a, what ptxas says of it
#                     (a spill is an error), and what its machine code is made of.
#                     Skipped where nvcc is not
#   make check-gpu    the same tests, and the questions that only a GPU answers
#   make dist         a bundle of it all for a machine that has a GPU and no tools
# MUTANTS=all: every planted bug, not the short list.
NVCC ?= $(or $(shell command -v nvcc),$(wildcard /usr/local/cuda/bin/nvcc))
ifeq ($(origin CXX),default)
CXX := $(if $(findstring clang,$(CC)),clang++,g++)
endif
MUTANTS ?= few
CUDA_SRC := $(sort $(wildcard kernels/cuda/*.cu))
CUDA_HOST_SRC := $(sort $(wildcard kernels/cuda/*.c))
CUEMU_SRC := $(sort $(wildcard tests/cuemu/test_*.cu))
CUEMU_C_SRC := $(sort $(wildcard tests/cuemu/test_*.c))
# test_emu's kernels are wrong on purpose
GPU_SRC := $(filter-out %/test_emu.cu,$(CUEMU_SRC)) tests/cuemu/probe.cu tests/cuemu/speed.cu

# what is in the library besides
CUDA_LIBS := $(B)/libllmkernels.a $(B)/libllmbase.a

# ---- on the host; warned of what C is, less what C++ does not know and what
# test_emu does on purpose
HAVE_CUEMU := $(if $(SAN)$(MARKS),,$(shell command -v $(CXX) >/dev/null && \
	[ "$$(uname -m)" = x86_64 ] && echo 1))
CUEMU_FLAGS = -std=c++17 -I. $(filter-out -Wstrict-prototypes -Wmissing-prototypes -Wnested-externs \
	-Wold-style-definition -Wjump-misses-init -Wduplicated-branches,$(WARN) $(CFLAGS)) -Wno-unknown-pragmas \
	$(if $(findstring clang,$(CXX)),-Wno-pass-failed) -ffp-contract=off -fPIC -U_FORTIFY_SOURCE \
	-include tests/cuemu/cuemu.h
CUEMU_OBJ := $(if $(HAVE_CUEMU),$(patsubst %.cu,$(B)/obj/cuemu/%.o,$(CUDA_SRC) $(CUEMU_SRC) tests/cuemu/runtime.cu) \
	$(patsubst %.c,$(B)/obj/cuemu/%.o,$(CUDA_HOST_SRC) $(CUEMU_C_SRC)))
CUEMU_TESTS := $(if $(HAVE_CUEMU),$(patsubst tests/%.cu,$(B)/tests/%,$(CUEMU_SRC)))
CUEMU_C_TESTS := $(if $(HAVE_CUEMU),$(patsubst tests/%.c,$(B)/tests/%,$(CUEMU_C_SRC)))
$(B)/obj/cuemu/%.o: %.cu
	@mkdir -p $(@D)
	$(CXX) $(CUEMU_FLAGS) -MMD -MP -x c++ -c -o $@ $<
# what calls the CUDA runtime (CUEMU_HOST) finds one that is the host
CUEMU_KERNELS := $(patsubst %.cu,$(B)/obj/cuemu/%.o,$(CUDA_SRC))
CUEMU_HOST := $(patsubst %.c,$(B)/obj/cuemu/%.o,$(CUDA_HOST_SRC)) $(B)/obj/cuemu/tests/cuemu/runtime.o
$(B)/obj/cuemu/tests/cuemu/runtime.o: CUEMU_FLAGS += -Itests/cuemu/fake
$(B)/obj/cuemu/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Itests/cuemu/fake -MMD -MP -c -o $@ $<
# the library as llmd loads it, of emulated kernels
CUEMU_LIB := $(if $(HAVE_CUEMU),$(B)/cuemu/libllm-cuda.so)
$(B)/cuemu/libllm-cuda.so: $(CUEMU_HOST) $(CUEMU_KERNELS) $(CUDA_LIBS) tests/cuemu/fake/libllm-cuda.map
	@mkdir -p $(@D)
	$(CXX) -shared -pthread -Wl,-z,defs -Wl,--version-script=tests/cuemu/fake/libllm-cuda.map -o $@ \
		$(filter %.o,$^) $(CUDA_LIBS) -lm
# (those of the backend load the library instead, as llmd does)
CUEMU_APART := $(filter $(B)/tests/cuemu/test_backend%,$(CUEMU_C_TESTS))
CUEMU_LINKED := $(filter-out $(CUEMU_APART),$(CUEMU_TESTS) $(CUEMU_C_TESTS))
$(CUEMU_LINKED): $(CUEMU_KERNELS) $(CUEMU_HOST)
$(CUEMU_APART): | $(CUEMU_LIB)
$(CUEMU_TESTS) $(CUEMU_C_TESTS): $(B)/tests/cuemu/%: $(B)/obj/cuemu/tests/cuemu/%.o $(DAEMON_LIBS)
	@mkdir -p $(@D)
	$(CXX) -pthread -o $@ $(filter %.o,$^) $(DAEMON_LIBS) $(LIBS)
cuda-tests: $(CUEMU_TESTS) $(CUEMU_C_TESTS) $(CUEMU_LIB) all
check-cuda:
	$(INNER) cuda-tests
	@MUTANTS=$(MUTANTS) CXX="$(CXX)" tests/run -b $(B) cuemu/

# ---- for a GPU
# (machines after these two compile compute_80 by themselves)
NVFLAGS = -std=c++17 -O3 -fmad=false -lineinfo -I. -Xcompiler -fPIC,-ffp-contract=off -Xptxas -v \
	-gencode=arch=compute_80,code=[sm_80,compute_80] -gencode=arch=compute_90a,code=sm_90a
CUDA_OBJ := $(patsubst %.cu,$(B)/obj/nvcc/%.o,$(CUDA_SRC))
CUDA_HOST_OBJ := $(patsubst %.c,$(B)/obj/nvcc/%.o,$(CUDA_HOST_SRC))
GPU_TESTS := $(patsubst tests/cuemu/%.cu,$(B)/gpu/%,$(GPU_SRC))
$(B)/obj/nvcc/%.o: %.cu
	@mkdir -p $(@D)
	$(NVCC) $(NVFLAGS) -MD -MF $(@:.o=.d) -c -o $@ $< >$(@:.o=.log) 2>&1 || { cat $(@:.o=.log); exit 1; }
$(B)/obj/nvcc/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -isystem $(dir $(NVCC))../include -MMD -MP -c -o $@ $<
$(B)/libllm-cuda.so: $(CUDA_OBJ) $(CUDA_HOST_OBJ) $(CUDA_LIBS) kernels/cuda/libllm-cuda.map
	$(NVCC) -shared -cudart static -Xlinker -z,defs,--version-script=kernels/cuda/libllm-cuda.map -o $@ \
		$(filter %.o,$^) $(CUDA_LIBS) -lm -ldl -lpthread -lrt
$(B)/gpu/%: $(B)/obj/nvcc/tests/cuemu/%.o $(CUDA_OBJ) $(CUDA_HOST_OBJ) $(CUDA_LIBS)
	@mkdir -p $(@D)
	$(NVCC) -cudart static -o $@ $^ -lm -ldl
# those of the backend load the library, whichever (gpu.h); test_backend_fail is
# about the one that is fake
GPU_BACKEND := $(patsubst $(B)/tests/cuemu/%,$(B)/gpu/%,$(filter-out %_fail,$(CUEMU_APART)))
$(GPU_BACKEND): $(B)/gpu/%: $(B)/tests/cuemu/%
	@mkdir -p $(@D)
	cp $< $@
gpu-programs: $(GPU_TESTS) $(GPU_BACKEND)
ifeq ($(NVCC),)
cuda libllm-cuda:
	@echo "libllm-cuda.so: skipped, there is no nvcc here"
check-gpu:
	@echo "ok gpu # SKIP there is no nvcc here"
dist:
	@echo "llm-gpu.tar.xz: skipped, there is no nvcc here"
else
libllm-cuda:
	$(INNER) $(B)/libllm-cuda.so
	@tests/cuemu/ptxas.sh $(CUDA_OBJ:.o=.log)
cuda: libllm-cuda
	@LLM_VERBOSE=1 tests/cuemu/sass.sh $(B)/libllm-cuda.so
	@echo "built $(B)/libllm-cuda.so"
check-gpu:
	$(INNER) all $(B)/libllm-cuda.so gpu-programs
	@LLM_BUILD=$(B) tests/cuemu/check-gpu $(B)/gpu $(B)/libllm-cuda.so doc/gpu-ledger.jsonl
dist:
	$(INNER) all $(B)/libllm-cuda.so gpu-programs
	@tests/cuemu/dist.sh $(B)
endif
.PHONY: cuda libllm-cuda cuda-tests check-cuda gpu-programs check-gpu dist
