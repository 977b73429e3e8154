# SPDX-License-Identifier: MIT
# make bench-peers: llama.cpp and we over the same files, in turn.
#   PEERS=DIR       where it is built and models are kept [~/.cache/llm-peers]
#   PEER_ROUNDS=N   of each cell [5]; ONLY=PATTERN cells whose name has that
#   WRITE=1         into doc/performance.md and doc/peers.svg too
PEERS ?= $(HOME)/.cache/llm-peers
PEER_BINS := $(B)/peers/ours $(B)/peers/load
LLAMA = $(wildcard $(PEERS)/llama_cpp_python-*/vendor/llama.cpp)

$(B)/peers/ours: $(B)/obj/tests/bench/peers/drive.o $(B)/obj/tests/bench/peers/ours.o $(DAEMON_LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(DAEMON_LIBS) $(LIBS)
$(B)/peers/load: $(B)/obj/tests/bench/peers/load.o $(B)/libllmclient.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^
# in the cache, where its headers are; never part of `make benches`
$(B)/peers/llama: tests/bench/peers/drive.c tests/bench/peers/llama.c tests/bench/peers/peer.h
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -I$(LLAMA)/include -I$(LLAMA)/ggml/include -o $@ $(filter %.c,$^) \
		-L$(PEERS)/build/bin -Wl,-rpath,$(PEERS)/build/bin -lllama -lggml -lggml-base

.PHONY: bench-peers
bench-peers: all $(PEER_BINS)
	@tests/bench/peers/run $(B) $(PEERS) $(if $(PEER_ROUNDS),--rounds $(PEER_ROUNDS)) $(if $(ONLY),--only '$(ONLY)') $(if $(WRITE),--write)
