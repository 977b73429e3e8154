#!/bin/sh
# SPDX-License-Identifier: MIT
# vm-inside.sh: the virtual machine's part of `make demo-vm`.
cd /llm || exit 1
printf '\nLinux %s, llm.ko loaded: %s\n' "$(uname -r)" \
	"$(stat -c '%n %a' /dev/llm /dev/llmd | tr '\n' ' ')"
# the smaller model of the two: the processor is emulated
exec build/tests/demo/demo_vm build/llmd build/llmctl models/manpages-0.7m-draft
