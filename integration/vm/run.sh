#!/bin/sh
# Real out-of-memory kills under cgroup v2, in a virtual machine of our own: qemu without KVM, Debian's
# kernel, an initramfs of busybox and our programs. run.sh BIN DIRECTORY: where jobshim and jobctl are
# (static ones), and where downloads and logs go. Exits with 77 if it cannot be run here.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
[ $# -eq 2 ] || {
    echo 'usage: run.sh BIN DIRECTORY' >&2
    exit 2
}
mkdir -p "$2"
bin=$(CDPATH='' cd -- "$1" && pwd)
cache=$(CDPATH='' cd -- "$2" && pwd)
limit=110 # seconds for the whole machine

skip() {
    echo "test skipped: $*"
    exit 77
}

# apt must not need to write as another user into our directory.
download() (
    cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$@"
)

update_lists() {
    if [ "$(id -u)" -eq 0 ]; then
        apt-get -qq update
    else
        sudo -n apt-get -qq update
    fi
}

# fetch PACKAGE: its .deb into the working directory, not installed. The lists may be old, or none.
fetch() {
    download "$1" 2>"$work/apt.log" ||
        { update_lists && download "$1"; } >>"$work/apt.log" 2>&1 ||
        skip "the package $1 cannot be downloaded: $(tail -n 1 "$work/apt.log")"
}

# member DEB PATTERN: the one file of a package that has this name.
member() {
    dpkg-deb --fsys-tarfile "$1" | tar -xO --wildcards "$2"
}

# The package that the kernel's metapackage stands for today.
kernel_package() {
    apt-cache depends --important linux-image-cloud-amd64 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

fetch_kernel() {
    package=$(kernel_package)
    if [ -z "$package" ]; then
        update_lists >"$work/apt.log" 2>&1 || true
        package=$(kernel_package)
    fi
    [ -n "$package" ] || skip 'apt has no linux-image-cloud-amd64'
    fetch "$package"
    deb=$(find "$work" -name 'linux-image-*.deb')
    # A disk in memory, for swap.
    member "$deb" '*/kernel/drivers/block/brd.ko*' >"$work/brd.ko"
    if xz -t "$work/brd.ko" 2>/dev/null; then
        xz -dc "$work/brd.ko" >"$work/brd" && mv "$work/brd" "$work/brd.ko"
    fi
    mv "$work/brd.ko" "$cache/brd.ko"
    # Last: what says that all is there.
    member "$deb" './boot/vmlinuz-*' >"$work/vmlinuz"
    mv "$work/vmlinuz" "$cache/vmlinuz"
    echo "$package" >"$cache/kernel"
}

fetch_busybox() {
    fetch busybox-static
    deb=$(find "$work" -name 'busybox-static*.deb')
    member "$deb" '*bin/busybox' >"$work/busybox"
    chmod +x "$work/busybox"
    mv "$work/busybox" "$cache/busybox"
}

make_initramfs() {
    guest=$work/guest
    mkdir -p "$guest/bin"
    cp "$here/init.sh" "$guest/init"
    cp "$cache/busybox" "$bin/jobshim" "$bin/jobctl" "$guest/bin"
    cp "$cache/brd.ko" "$guest"
    chmod +x "$guest/init"
    ln -s busybox "$guest/bin/sh"
    (cd "$guest" && find . | cpio --quiet -o -H newc) >"$work/initramfs"
}

[ "$(uname -m)" = x86_64 ] || skip 'the programs of this machine are not for x86_64'
for tool in qemu-system-x86_64 cpio python3 timeout; do
    command -v "$tool" >/dev/null || skip "no $tool"
done
for program in jobshim jobctl; do
    ! ldd "$bin/$program" 2>/dev/null | grep -q '=>' || skip "$program is not linked statically"
done

work=$(mktemp -d)
machine=
clean_up() {
    if [ -n "$machine" ]; then
        # It passes this on to qemu.
        kill -TERM "$machine" 2>/dev/null || true
        wait "$machine" || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if [ ! -e "$cache/vmlinuz" ] || [ ! -e "$cache/busybox" ]; then
    command -v apt-get >/dev/null || skip 'no apt, so the kernel and busybox cannot be downloaded'
    [ -e "$cache/vmlinuz" ] || fetch_kernel
    [ -e "$cache/busybox" ] || fetch_busybox
fi
make_initramfs

began=$(date +%s)
rm -f "$cache/records" "$cache/console"
# The records have a serial line of their own: the kernel's messages cannot fall into them.
timeout --kill-after=5 "$limit" \
    qemu-system-x86_64 -accel tcg -m 256 -nodefaults -no-reboot -display none -monitor none \
    -serial "file:$cache/console" -serial "file:$cache/records" \
    -kernel "$cache/vmlinuz" -initrd "$work/initramfs" \
    -append 'console=ttyS0 panic=-1 quiet' </dev/null &
machine=$!
status=0
wait "$machine" || status=$?
machine=
echo "$(cat "$cache/kernel"), $(($(date +%s) - began)) s"
[ "$status" -ne 124 ] || echo "the machine did not end within $limit s"
verdict=0
python3 "$here/check.py" "$cache/records" || verdict=1
if [ "$verdict" -ne 0 ] || [ "$status" -ne 0 ]; then
    echo "qemu ended with $status; the machine's console: $cache/console"
    exit 1
fi
