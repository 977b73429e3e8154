# SPDX-License-Identifier: MIT
# make install PREFIX=/usr/local DESTDIR= LIBDIR=$(PREFIX)/lib: see GNU's standard
# targets.  SYSTEMD= (empty) leaves out what systemd reads: unit, user, rule.
SYSTEMD ?= 1
LIBDIR ?= $(PREFIX)/lib
INSTALL = install -D -m
AT = $(DESTDIR)$(PREFIX)
LIB = $(DESTDIR)$(LIBDIR)
TOOLS := $(patsubst tools/%.c,%,$(TOOL_MAINS))
MANS := $(wildcard doc/man/*.[1-8])
COMPLETIONS := $(patsubst packaging/%.bash-completion,%,$(wildcard packaging/*.bash-completion))
FILLED = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|'
man_path = man$(patsubst .%,%,$(suffix $(1)))/$(notdir $(1))

install: all
	$(INSTALL) 755 $(B)/llmd $(AT)/sbin/llmd
	for t in $(TOOLS); do $(INSTALL) 755 $(B)/$$t $(AT)/bin/$$t || exit; done
	$(INSTALL) 755 $(B)/libllmclient.so $(LIB)/libllmclient.so.$(VERSION)
	ln -sf libllmclient.so.$(VERSION) $(LIB)/libllmclient.so.$(SOVERSION)
	ln -sf libllmclient.so.$(SOVERSION) $(LIB)/libllmclient.so
	$(INSTALL) 644 $(B)/libllmclient.a $(LIB)/libllmclient.a
	[ ! -e $(B)/libllm-cuda.so ] || $(INSTALL) 755 $(B)/libllm-cuda.so $(LIB)/libllm-cuda.so
	$(INSTALL) 644 include/llmclient.h $(AT)/include/llmclient.h
	for h in llm.h llm_netlink.h; do $(INSTALL) 644 include/uapi/linux/$$h $(AT)/include/linux/$$h || exit; done
	@mkdir -p $(LIB)/pkgconfig
	$(FILLED) packaging/llmclient.pc.in >$(LIB)/pkgconfig/llmclient.pc
	$(foreach m,$(MANS),$(INSTALL) 644 $(m) $(AT)/share/man/$(call man_path,$(m)) &&) true
	for c in $(COMPLETIONS); do $(INSTALL) 644 packaging/$$c.bash-completion \
		$(AT)/share/bash-completion/completions/$$c || exit; done
	$(INSTALL) 644 packaging/llmd.conf $(AT)/share/doc/llm/llmd.conf
	$(INSTALL) 644 COPYING $(AT)/share/doc/llm/COPYING
	for l in $(wildcard LICENSES/*.txt); do $(INSTALL) 644 $$l $(AT)/share/doc/llm/$$l || exit; done
ifneq ($(SYSTEMD),)
	@mkdir -p $(AT)/lib/systemd/system
	$(FILLED) packaging/llmd.service.in >$(AT)/lib/systemd/system/llmd.service
	$(INSTALL) 644 packaging/llm.sysusers $(AT)/lib/sysusers.d/llm.conf
	$(INSTALL) 644 packaging/60-llm.rules $(AT)/lib/udev/rules.d/60-llm.rules
endif
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ldconfig

# exactly what install puts there
uninstall:
	rm -f $(AT)/sbin/llmd $(TOOLS:%=$(AT)/bin/%) $(LIB)/libllmclient.* $(LIB)/libllm-cuda.so \
		$(AT)/include/llmclient.h $(AT)/include/linux/llm.h $(AT)/include/linux/llm_netlink.h \
		$(LIB)/pkgconfig/llmclient.pc \
		$(AT)/lib/systemd/system/llmd.service $(AT)/lib/sysusers.d/llm.conf \
		$(AT)/lib/udev/rules.d/60-llm.rules \
		$(COMPLETIONS:%=$(AT)/share/bash-completion/completions/%) \
		$(foreach m,$(MANS),$(AT)/share/man/$(call man_path,$(m)))
	rm -rf $(AT)/share/doc/llm
.PHONY: install uninstall
