# SPDX-License-Identifier: MIT
# make deb: Debian packages of this tree into build/deb, in a copy of it there,
# since Debian's tools want debian/ at the top and write beside it.
DEB := $(B)/deb
DEB_TREE = $(DEB)/llm-$(VERSION)
# what git knows or would add; of an unpacked archive all but build/
DEB_FILES = { git ls-files --cached --others --exclude-standard 2>/dev/null || \
	find . -path ./build -prune -o -type f -print; }
# the time of the last commit, so that the same tree gives the same packages
DEB_DATE = $$(git log -1 --format=%cD 2>/dev/null || date -R -r Makefile)
# debug symbols: DEB_BUILD_OPTIONS= (empty)
DEB_BUILD_OPTIONS ?= noautodbgsym

deb:
	@tests/setup.sh deb
	@rm -rf $(DEB) && mkdir -p $(DEB_TREE)
	@$(DEB_FILES) | while IFS= read -r f; do [ -f "$$f" ] && printf '%s\n' "$$f"; done | \
		tar -cf - -T - | tar -xf - -C $(DEB_TREE)
	@mv $(DEB_TREE)/packaging/debian $(DEB_TREE)/debian
	@sed -e 's/@VERSION@/$(VERSION)/' -e "s/@DATE@/$(DEB_DATE)/" \
		$(DEB_TREE)/debian/changelog.in >$(DEB_TREE)/debian/changelog
	@echo "building the packages (log: $(DEB)/log)"
	@cd $(DEB_TREE) && env -u MAKEFLAGS -u MAKELEVEL -u CFLAGS -u LDFLAGS \
		DEB_BUILD_OPTIONS="$(DEB_BUILD_OPTIONS)" \
		dpkg-buildpackage -b -uc -us -J$$(nproc) \
		>../log 2>&1 </dev/null || { tail -n 30 ../log; echo "make deb: see $(DEB)/log"; exit 1; }
	@rm -rf $(DEB_TREE)
	@ls $(DEB)/*.deb
.PHONY: deb
