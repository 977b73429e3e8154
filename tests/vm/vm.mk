# SPDX-License-Identifier: MIT
#   make demo-vm   the module, llmd and clients of three users in a virtual machine
demo-vm:
	@tests/setup.sh kmod
	$(INNER) all $(B)/tests/demo/demo_vm
	@KCACHE=$(KCACHE) tests/demo/demo-vm $(B)
.PHONY: demo-vm
