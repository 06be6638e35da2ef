#include "integration/mounts.hpp"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "integration/support/error.hpp"

namespace harness {
namespace {

/// Once for the whole process: see the caveat.
void enter_own_mounts() {
    static const bool entered = [] {
        enter_private_mounts();
        return true;
    }();
    (void)entered;
}

void make_file_system(const std::string& type, const std::string& device, std::size_t inodes) {
    // -m 0: no blocks reserved for root, because the filler runs as root.
    auto command = type == "ext4" ? std::string("mkfs.ext4 -q -F -m 0") : "mkfs.xfs -q -f";
    if (inodes != 0) command += " -N " + std::to_string(inodes);
    command += " " + device + " >&2";
    if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

/// True if all the bytes were written.
bool add_bytes(int fd, std::size_t bytes) {
    const std::string zeros(bytes, '\0');
    return write(fd, zeros.data(), bytes) == static_cast<ssize_t>(bytes);
}

}  // namespace

std::string why_no_volume(const std::string& type) {
    if (!child_can(enter_private_mounts)) return "cannot create a mount namespace (needs root)";
    if (type == "tmpfs") return "";
    if (!in_path("mkfs." + type)) return "no mkfs." + type;
    if (access("/dev/loop-control", R_OK | W_OK) != 0) return "no loop devices";
    // The kernel checks the type first, so an unknown type gives ENODEV and a known one fails on
    // the source.
    if (mount("/nonexistent", "/", type.c_str(), 0, nullptr) != 0 && errno == ENODEV)
        return "no " + type + " in this kernel";
    return "";
}

bool missing(const std::string& type) {
    const auto why = why_no_volume(type);
    if (!why.empty()) WARN("test skipped: " << type << ": " << why);
    return !why.empty();
}

LoopDevice::LoopDevice(std::size_t bytes) {
    const Fd control(checked(open("/dev/loop-control", O_RDWR | O_CLOEXEC), "/dev/loop-control"));
    const Fd memory(checked(memfd_create("disk", MFD_CLOEXEC), "memfd_create"));
    checked(ftruncate(memory.get(), static_cast<off_t>(bytes)), "a disk of memory");
    for (int attempt = 0; attempt < 100; ++attempt) {
        path_ = "/dev/loop" +
                std::to_string(checked(ioctl(control.get(), LOOP_CTL_GET_FREE), "a loop device"));
        Fd device(checked(open(path_.c_str(), O_RDWR | O_CLOEXEC), path_));
        loop_config config{};
        config.fd = static_cast<std::uint32_t>(memory.get());
        config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
        if (ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) {
            device_ = std::move(device);
            return;
        }
        if (errno != EBUSY) break;  // else another process took it first
    }
    fail_errno("set up " + path_);
}

Mount::Mount(const std::string& source, fs::path where, const std::string& type,
             unsigned long flags, const std::string& options)
    : where_(std::move(where)) {
    enter_own_mounts();
    checked(::mount(source.c_str(), where_.c_str(), type.c_str(), flags, options.c_str()),
            "mount " + source + " on " + where_.string());
}

Mount::~Mount() {
    // A process of a failed test may still be using it: the mount then goes away with that process.
    if (mounted_) umount2(where_.c_str(), MNT_DETACH);
}

void Mount::unmount() {
    int error = 0;
    const bool done = wait_until([&] {
        error = umount2(where_.c_str(), 0) == 0 ? 0 : errno;
        return error != EBUSY;
    });
    if (!done || error != 0) {
        errno = error;
        fail_errno("unmount " + where_.string());
    }
    mounted_ = false;
}

namespace {

// From linux/fs.h, which some versions of sys/mount.h cannot be included with.
constexpr unsigned long get_flags = _IOR('f', 1, long), set_flags = _IOW('f', 2, long);
constexpr int immutable_flag = 0x10;

bool set_immutable(const fs::path& directory, bool wanted) {
    const Fd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    int flags = 0;
    if (ioctl(fd.get(), get_flags, &flags) != 0) return false;
    flags = wanted ? flags | immutable_flag : flags & ~immutable_flag;
    return ioctl(fd.get(), set_flags, &flags) == 0;
}

}  // namespace

Immutable::Immutable(fs::path directory)
    : directory_(std::move(directory)), is_set_(set_immutable(directory_, true)) {}

Immutable::~Immutable() {
    if (is_set_) set_immutable(directory_, false);
}

std::unique_ptr<Mount> read_only_over(const fs::path& where) {
    auto over = std::make_unique<Mount>(where, where, "", MS_BIND);
    checked(::mount("", where.c_str(), "", MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr),
            "make read-only: " + where.string());
    return over;
}

Volume::Volume(const fs::path& where, std::string type, VolumeSize size)
    : where_(where), type_(std::move(type)) {
    fs::create_directories(where_);
    constexpr std::size_t mib = std::size_t{1} << 20U;
    if (type_ == "tmpfs") {
        mount("size=" + std::to_string(size.bytes != 0 ? size.bytes : 2 * mib) +
              (size.inodes != 0 ? ",nr_inodes=" + std::to_string(size.inodes) : ""));
        return;
    }
    // mkfs.xfs creates nothing smaller than 300 MiB. Blocks never written use no memory.
    device_ = std::make_unique<LoopDevice>(size.bytes != 0  ? size.bytes
                                           : type_ == "xfs" ? 300 * mib
                                                            : 16 * mib);
    make_file_system(type_, device_->path(), size.inodes);
    mount();
}

Volume::~Volume() = default;

void Volume::mount(const std::string& options) {
    mount_ =
        std::make_unique<Mount>(device_ ? device_->path() : "tmpfs", where_, type_, 0UL, options);
}

void Volume::unmount() {
    mount_->unmount();
    mount_.reset();
}

void Volume::sync() const {
    const Fd fd(checked(open(where_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), where_));
    checked(syncfs(fd.get()), "syncfs " + where_.string());
}

void Volume::cut_power() const {
    const Fd fd(checked(open(where_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), where_));
    // EXT4_IOC_SHUTDOWN is the same as XFS_IOC_GOINGDOWN. The journal in memory is not flushed
    // either.
    constexpr auto shutdown = _IOR('X', 125, std::uint32_t);
    std::uint32_t without_flush = 2;
    checked(ioctl(fd.get(), shutdown, &without_flush), "shut down " + where_.string());
}

void use_up_space(const fs::path& file) {
    const Fd fd(checked(open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), file));
    // First in large strides, without writing; then whatever is left.
    for (std::size_t stride = std::size_t{1} << 27U; stride >= 4096; stride /= 2)
        while (fallocate(fd.get(), 0, lseek(fd.get(), 0, SEEK_END), static_cast<off_t>(stride)) ==
               0) {
        }
    for (std::size_t size = 65536; size >= 1; size /= 2)
        while (add_bytes(fd.get(), size)) {
        }
    // Some space is freed late or was reserved for others: use up what comes back now, too.
    checked(syncfs(fd.get()), "syncfs");
    for (std::size_t size = 65536; size >= 1; size /= 2)
        while (add_bytes(fd.get(), size)) {
        }
    if (errno != ENOSPC) fail_errno("fill " + file.string());
}

void use_up_inodes(const fs::path& directory) {
    fs::create_directories(directory);
    for (int n = 0;; ++n) {
        const auto file = directory / std::to_string(n);
        if (fs::exists(file)) continue;
        const Fd fd(open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        if (fd.get() >= 0) continue;
        if (errno == ENOSPC) return;
        fail_errno("create " + file.string());
    }
}

}  // namespace harness
