/* SPDX-License-Identifier: MIT */
/*
 * peer.h - what is compared: an engine that holds one model and computes steps
 * of sequences side by side, greedily.  Two programs are made of it: drive.c
 * with ours.c, and drive.c with llama.c.
 */
#ifndef PEERS_PEER_H
#define PEERS_PEER_H

#include <stdint.h>

#define PEER_PROMPT  512u /* rows of a step, at most */
#define PEER_BATCH   32u
#define PEER_CONTEXT 1024u
#define PEER_STEPS   16u /* that a sequence is decoded beyond its context */

/* Open @model with @threads; ends the program with a line where it cannot. */
void peer_open(const char *model, uint32_t threads);
/* The prompt ids[0..nr) from nothing, in one step; the token after it. */
uint32_t peer_prefill(const uint32_t *ids, uint32_t nr);
/* @batch sequences, each with KV of its own of ids[0..context). */
void peer_fill(const uint32_t *ids, uint32_t batch, uint32_t context);
/* Of these a step: the token at place @at of each; the last one's next. */
uint32_t peer_decode(uint32_t token, uint32_t at);
/* Back to the context. */
void peer_rewind(void);

#endif
