/* SPDX-License-Identifier: MIT */
/*
 * ops_cuda.h - the op set "cuda" (ops.h) over the kernels of cuda.h, and its
 * arithmetic.
 *
 * A row's result depends on that row alone, as with every op set: the kernels
 * have one order of sums for any number of rows, any place and any step.
 *
 * C1  Weights in F16 and BF16 are taken as they are, F32 and Q2_K are rounded
 *     to BF16 when they are loaded; so is F16 where it shares its input with
 *     BF16, and gate and up where their types differ in kind.  Other packed
 *     weights, and FP8, are taken code for code.  Rows of the embedding in F32
 *     and F16, norm weights, biases and rope's table are taken as they are,
 *     other rows of the embedding are rounded to BF16.  Matrices of layers in
 *     F32, F16 and BF16 are rounded with WEIGHTS_INT8 to codes of 8 bits with
 *     a scale a row (P1 of ops.h over a row, L = 127), with WEIGHTS_FP8 to e4m3
 *     with a scale a row, with WEIGHTS_INT4 to INT4 of formats.h (pack.h).
 * C2  XN, A and H are of the kind of the weights that they are multiplied with:
 *     BF16 (before FP8 and INT4 too), F16, or F32 before other packed ones and
 *     W8A8; Q, keys and values, and the weights p of attention are BF16; each
 *     rounded once, to nearest even.
 *     X, the products with q, k, v and LOGITS are F32.
 * C3  A product is one chain of the tensor core over k ascending, 16 a step,
 *     from 0; times the scale of the row, of FP8 rows that have one.  Of other
 *     FP8 and of INT4 it is a chain of codes (INT4's less their zero) for each
 *     128 columns, folded acc = fma(chain, scale, acc), ascending.  Of other
 *     packed weights it is P1 and P2 of ops.h, of W8A8 P3.  Then + bias; then
 *     X + that, or silu(gate) * up.
 * C4  norm(x) * w: x * (1 / sqrt(sum(x * x) * (1 / n) + eps)) * w, the sum in
 *     the order of norm.cuh; of a head of q and k in that of qkv.cuh.
 * C5  rope as F5 of ops.h; attn_scale is multiplied to the scores.
 * C6  Attention: parts of 128 absolute positions, folded ascending, 2^x by the
 *     polynomial of arith.cuh (attention.cuh; attention_sm90.cuh has its bits).
 *     With KV_Q8 keys and values are K1's of ops.h.
 * C7  Tokens are chosen and judged as ops.h says, from these LOGITS.
 *
 * How the tensor core adds differs from one generation to the next, so the id
 * of the arithmetic has the device's in it.
 */
#ifndef KERNELS_CUDA_OPS_CUDA_H
#define KERNELS_CUDA_OPS_CUDA_H

#define OPS_ARITH_CUDA 0x6c6c6d2d63756401ull /* "llm-cud", version 1 */

extern const struct ops ops_cuda;

#endif
