/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/packed_avx512.inc"

const struct packed_set packed_avx512 = SET;
