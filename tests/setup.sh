#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tests/setup.sh build|deb|kmod|check: see that what `make demo` (build), `make
# deb` (build and deb), `make check-kmod` (build and kmod) or `make check` (all)
# needs is on this machine, and install on Debian and Ubuntu what is not.  It
# asks for the thing itself (a command, a header), so it does nothing where
# nothing is missing, whatever the distribution.
#
# A missing package of what was asked for ends it with 1; for `make check` only
# one of the build's does: the tests that need another are skipped, and say so.
set -u

want=${1:-build}
case $want in
build) wanted=' build ' must=' build ' ;;
deb) wanted=' build deb ' must=' build deb ' ;;
kmod) wanted=' build kmod ' must=' build kmod ' ;;
check) wanted=' build deb kmod check ' must=' build ' ;;
*) echo "usage: tests/setup.sh build|deb|kmod|check" >&2; exit 2 ;;
esac
cc=$(command -v "${CC:-cc}" || command -v gcc || command -v clang)

has_command() { command -v "$1" >/dev/null 2>&1; }
has_header() { [[ -n $cc ]] && echo "#include <$1>" | "$cc" -E -x c - >/dev/null 2>&1; }
has_module() { python3 -c "import $1" 2>/dev/null; }
has_package() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
# the tree's format was written with this version; another moves lines
has_format() { has_command clang-format-14 || clang-format --version 2>/dev/null | grep -q 'version 14\.'; }

# for	what shows that it is there	package (or what an older release calls it)	what it is for
needs() {
	cat <<-'END'
	build	command cc	gcc	the compiler
	build	command make	make	the build
	build	header stdio.h	libc6-dev	the C library's headers
	build	command pkg-config	pkg-config	finds the libraries
	build	header jansson.h	libjansson-dev	reads config.json, tokenizer.json
	build	header pcre2posix.h	libpcre2-dev	pre-tokenizers
	build	header utf8proc.h	libutf8proc-dev	Unicode normal forms
	build	header sodium.h	libsodium-dev	digests, keyed hashes
	build	header liburing.h	liburing-dev	the io_uring example
	build	command ps	procps	the demo finds its processes
	deb	package build-essential	build-essential	what Debian builds every package with
	deb	header libnl3/netlink/version.h	libnl-genl-3-dev	llmctl asks the module
	deb	command dh	debhelper	builds the packages
	deb	command dh_dkms	dh-dkms dkms	packages the kernel module
	check	command python3	python3	the lint of the walls
	check	command nm	binutils	what core/ calls
	check	command clang	clang	warnings of a second compiler
	check	command g++	g++	public headers from C++
	check	format -	clang-format-14	the form of the source
	check	command shellcheck	shellcheck	the lint of scripts
	check	command strace	strace	counts system calls
	check	command debootstrap	debootstrap	a fresh root to install the packages in
	check	command systemd-nspawn	systemd-container	boots that root
	check	module yaml	python3-yaml	the netlink specification
	kmod	command qemu-system-x86_64	qemu-system-x86	boots kernels
	kmod	command cpio	cpio	their first file system
	kmod	command busybox	busybox-static	the programs in it
	kmod	header libelf.h	libelf-dev	the debug kernel's build
	kmod	command flex	flex	the debug kernel's build
	kmod	command bison	bison	the debug kernel's build
	kmod	command bc	bc	the debug kernel's build
	kmod	command xz	xz-utils	unpacks its source
	kmod	command sparse	sparse	checks the module
	kmod	header libnl3/netlink/version.h	libnl-genl-3-dev	netlink tests
	END
}

missing=() # packages, by the first of their names
declare -A names reasons part
while IFS=$'\t' read -r for probe package reason; do
	[[ $wanted == *" $for "* ]] || continue
	# shellcheck disable=SC2086	# two words: which probe, its argument
	"has_${probe%% *}" ${probe#* } && continue
	first=${package%% *}
	missing+=("$first")
	names[$first]=$package reasons[$first]=$reason part[$first]=$for
done < <(needs)
[[ ${#missing[@]} = 0 ]] && exit 0

named() { # PACKAGE...: each with what it is for
	local out='' package
	for package; do
		out+="${out:+, }$package (${reasons[$package]})"
	done
	echo "$out"
}

# lacking WHY PACKAGE...: the end, unless only tests are the poorer for it
lacking() {
	local why=$1 package
	shift
	[[ $# -gt 0 ]] || return 0
	echo "setup: $why: $(named "$@")" >&2
	for package; do
		[[ $must != *" ${part[$package]} "* ]] || exit 1
	done
	echo "setup: only tests need them: those are skipped" >&2
}

if ! has_command apt-get; then
	lacking "no apt-get here: install what your distribution calls these" "${missing[@]}"
	exit 0
fi
if [[ $(id -u) = 0 ]]; then
	root=(env)
elif has_command sudo && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
	root=(sudo)
else
	lacking "neither root nor sudo: as root, run apt-get install ${missing[*]}; missing" "${missing[@]}"
	exit 0
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
	"${root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -qq \
		-o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1
}
install() { apt install -y --no-install-recommends "$@"; }

# there: of the packages missing, those of this release by its own names;
# absent: those that it does not have
sort_out() {
	local package name
	there=() absent=()
	for package in "${missing[@]}"; do
		for name in ${names[$package]} ''; do
			[[ $name ]] && apt-cache show "$name" >/dev/null 2>&1 && break
		done
		if [[ $name ]]; then
			there+=("$name")
			reasons[$name]=${reasons[$package]} part[$name]=${part[$package]}
		else
			absent+=("$package")
		fi
	done
}

# a fresh machine has no lists of packages yet
compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || apt update
sort_out
if [[ ${#there[@]} -gt 0 ]]; then
	echo "installing $(named "${there[@]}")"
	install "${there[@]}" || {
		apt update # the lists may be old
		sort_out
		install "${there[@]}"
	} || {
		# one that cannot be had must not keep the others away
		failed=()
		for package in "${there[@]}"; do
			install "$package" || failed+=("$package")
		done
		[[ ${#failed[@]} = 0 ]] || tail -n 5 "$log" | sed 's/^/setup: /' >&2
		lacking "apt-get could not install" "${failed[@]}"
	}
fi
lacking "not in this release" "${absent[@]}"
exit 0
