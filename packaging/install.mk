# SPDX-License-Identifier: MIT
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/lib/pkgconfig \
		$(DESTDIR)$(PREFIX)/include/linux
	install -m 755 $(B)/llmd $(DESTDIR)$(PREFIX)/sbin/llmd
	install -m 755 $(B)/llm $(DESTDIR)$(PREFIX)/bin/llm
	install -m 644 $(B)/libllmclient.a $(DESTDIR)$(PREFIX)/lib/
	install -m 755 $(B)/libllmclient.so $(DESTDIR)$(PREFIX)/lib/libllmclient.so.$(VERSION)
	ln -sf libllmclient.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libllmclient.so.$(SOVERSION)
	ln -sf libllmclient.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/libllmclient.so
	install -m 644 include/llmclient.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 include/uapi/linux/llm.h $(DESTDIR)$(PREFIX)/include/linux/
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' packaging/llmclient.pc.in \
		>$(DESTDIR)$(PREFIX)/lib/pkgconfig/llmclient.pc
.PHONY: install
