# SPDX-License-Identifier: GPL-2.0-only
# The kernel module and its virtual machines.
#   make kmod             llm.ko against KDIR (default: the running kernel's headers)
#   make check-kmod       on Debian's stock kernels: KERNELS="6.1 6.12 new"
#   make check-kmod-debug on a kernel full of checks (the first build: 14 min of CPU)
#   make fuzz-kmod        a hostile client there, FUZZ_S seconds (36000: a night)
#   make bench-kmod       round trips in virtual time
# KCACHE holds the kernels; ONLY= a part of a test's name.
KDIR ?= /lib/modules/$(shell uname -r)/build
KCACHE ?= $(HOME)/.cache/llm-kmod
FUZZ_S ?= 300
KMOD_RUN = KCACHE=$(KCACHE) LLM_BUILD=$(B) tests/kmod/run

kmod:
	@test -d $(KDIR) || { echo "no kernel headers in $(KDIR): install linux-headers-\$$(uname -r), or name KDIR"; exit 1; }
	@mkdir -p $(B)/kmod/own
	@tar cf - Kbuild kmod include/uapi | tar xf - -C $(B)/kmod/own
	$(MAKE) -C $(KDIR) M=$(abspath $(B)/kmod/own) W=1 modules
	@echo "built $(B)/kmod/own/llm.ko"
check-kmod:
	@tests/setup.sh kmod
	$(INNER) tests
	@$(KMOD_RUN) $(if $(ONLY),-t $(ONLY)) $(KERNELS)
check-kmod-debug:
	@tests/setup.sh kmod
	@$(KMOD_RUN) $(if $(ONLY),-t $(ONLY)) debug
fuzz-kmod:
	@tests/setup.sh kmod
	@$(KMOD_RUN) -t fuzz -a "kt.fuzz_s=$(FUZZ_S)" -l $$(($(FUZZ_S) * 2 + 600)) debug
bench-kmod:
	@tests/setup.sh kmod
	@$(KMOD_RUN) -b 6.12
.PHONY: kmod check-kmod check-kmod-debug fuzz-kmod bench-kmod
