# SPDX-License-Identifier: MIT
# make install PREFIX=/usr/local DESTDIR=: see GNU's standard targets.  SYSTEMD=
# (empty) leaves the unit and its user out.
SYSTEMD ?= 1
INSTALL = install -D -m
AT = $(DESTDIR)$(PREFIX)

install: all
	$(INSTALL) 755 $(B)/llmd $(AT)/sbin/llmd
	$(INSTALL) 755 $(B)/llm $(AT)/bin/llm
	$(INSTALL) 755 $(B)/llmctl $(AT)/bin/llmctl
	$(INSTALL) 755 $(B)/libllmclient.so $(AT)/lib/libllmclient.so.$(VERSION)
	ln -sf libllmclient.so.$(VERSION) $(AT)/lib/libllmclient.so.$(SOVERSION)
	ln -sf libllmclient.so.$(SOVERSION) $(AT)/lib/libllmclient.so
	$(INSTALL) 644 $(B)/libllmclient.a $(AT)/lib/libllmclient.a
	$(INSTALL) 644 include/llmclient.h $(AT)/include/llmclient.h
	$(INSTALL) 644 include/uapi/linux/llm.h $(AT)/include/linux/llm.h
	$(INSTALL) 644 include/uapi/linux/llm_netlink.h $(AT)/include/linux/llm_netlink.h
	@mkdir -p $(AT)/lib/pkgconfig
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' packaging/llmclient.pc.in \
		>$(AT)/lib/pkgconfig/llmclient.pc
	for m in $(wildcard doc/man/*.[1-8]); do $(INSTALL) 644 $$m $(AT)/share/man/man$${m##*.}/$${m##*/}; done
	$(INSTALL) 644 packaging/llm.bash-completion $(AT)/share/bash-completion/completions/llm
	$(INSTALL) 644 packaging/llm.bash $(AT)/share/bash-completion/completions/llm
	ln -sf llm $(AT)/share/bash-completion/completions/llmd
	$(INSTALL) 644 packaging/llmctl.bash-completion $(AT)/share/bash-completion/completions/llmctl
	$(INSTALL) 644 packaging/llmd.conf $(AT)/share/doc/llm/llmd.conf
	$(INSTALL) 644 COPYING $(AT)/share/doc/llm/COPYING
	for l in $(wildcard LICENSES/*.txt); do $(INSTALL) 644 $$l $(AT)/share/doc/llm/$$l; done
ifneq ($(SYSTEMD),)
	@mkdir -p $(AT)/lib/systemd/system
	sed -e 's|@PREFIX@|$(PREFIX)|' packaging/llmd.service.in >$(AT)/lib/systemd/system/llmd.service
	$(INSTALL) 644 packaging/llm.sysusers $(AT)/lib/sysusers.d/llm.conf
endif
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ldconfig

# exactly what install puts there
uninstall:
	rm -f $(AT)/sbin/llmd $(AT)/bin/llm $(AT)/bin/llmctl $(AT)/lib/libllmclient.* $(AT)/include/llmclient.h \
		$(AT)/include/linux/llm.h $(AT)/include/linux/llm_netlink.h $(AT)/lib/pkgconfig/llmclient.pc \
		$(AT)/lib/systemd/system/llmd.service $(AT)/lib/sysusers.d/llm.conf \
		$(AT)/share/bash-completion/completions/llm $(AT)/share/bash-completion/completions/llmd \
		$(foreach m,$(notdir $(wildcard doc/man/*.[1-8])),$(AT)/share/man/man$(patsubst .%,%,$(suffix $(m)))/$(m))
	rm -f $(AT)/share/bash-completion/completions/llm $(AT)/share/bash-completion/completions/llmctl
	rm -rf $(AT)/share/doc/llm
.PHONY: install uninstall
