/* SPDX-License-Identifier: MIT */
/*
 * device.h - DEVICE_TOO: functions of plain C that CUDA kernels call as well,
 * so that both sides have the same bits by having the same source.
 */
#ifndef KERNELS_DEVICE_H
#define KERNELS_DEVICE_H

#ifdef __CUDACC__
#define DEVICE_TOO static inline __host__ __device__
#else
#define DEVICE_TOO static inline
#endif

#endif
