/* SPDX-License-Identifier: MIT */
/*
 * device.h - DEVICE_TOO: functions of plain C that CUDA kernels call as well,
 * so that both sides have the same bits by having the same source.  _CONST: one
 * that C++ may call where a constant is wanted.
 */
#ifndef KERNELS_DEVICE_H
#define KERNELS_DEVICE_H

#ifdef __CUDACC__
#define DEVICE_TOO static inline __host__ __device__
#else
#define DEVICE_TOO static inline
#endif
#ifdef __cplusplus
#define DEVICE_TOO_CONST DEVICE_TOO constexpr
#else
#define DEVICE_TOO_CONST DEVICE_TOO
#endif

#endif
