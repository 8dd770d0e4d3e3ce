//! Files as memory: fresh descriptions, reservation of every page, reads that cannot raise `SIGBUS`.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, FileType, Gid, MemfdFlags, Mode, OFlags, SealFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::{os, pages};
use crate::error::Error;
use crate::pages::Pages;

/// The number of hugetlbfs in `statfs`.
const HUGE: u32 = 0x9584_58f6;
/// File systems that are memory, by their numbers: tmpfs, ramfs, hugetlbfs.
const MEMORY: [u32; 3] = [0x0102_1994, 0x8584_58f6, HUGE];

/// Whether a file, or a directory, is memory, and so does not outlive the machine.
pub(crate) fn is_memory(file: impl AsFd) -> Result<bool, Error> {
    let kind = rustix::fs::fstatfs(file).map_err(os("fstatfs"))?.f_type;
    Ok(MEMORY.contains(&(kind as u32)))
}

/// Bytes of the pages that a file consists of.
pub(crate) fn page_size(file: BorrowedFd<'_>) -> Result<usize, Error> {
    let stat = rustix::fs::fstatfs(file).map_err(os("fstatfs"))?;
    Ok(if stat.f_type as u32 == HUGE { stat.f_bsize as usize } else { rustix::param::page_size() })
}

/// What keeps a file as long as it is.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);
/// What also keeps everybody from writing to it, except through the mappings that there are by then.
const WRITTEN_HERE: SealFlags = SEALS.union(SealFlags::FUTURE_WRITE);

/// A sealed anonymous file of `length` bytes: no peer can truncate it, whatever it is up to.
///
/// Of huge pages, if they are asked for and there are any left.
pub(crate) fn memfd(length: usize, pages: &Pages) -> Result<OwnedFd, Error> {
    let file = unsealed_memfd(length, pages)?;
    seal(file.as_fd(), SEALS)?;
    Ok(file)
}

/// The same, to be sealed by whoever makes it.
pub(crate) fn unsealed_memfd(length: usize, pages: &Pages) -> Result<OwnedFd, Error> {
    Ok(match huge_memfd(length, pages) {
        Some(file) => file,
        None => {
            let file = rustix::fs::memfd_create("ringway", MEMFD).map_err(os("memfd_create"))?;
            reserve(file.as_fd(), length)?;
            file
        }
    })
}

fn seal(file: BorrowedFd<'_>, seals: SealFlags) -> Result<(), Error> {
    rustix::fs::fcntl_add_seals(file, seals).map_err(os("fcntl(F_ADD_SEALS)"))
}

/// Leaves it to the mappings that there are to write to a memfd, which keeps its length.
pub(crate) fn seal_writing(file: BorrowedFd<'_>) -> Result<(), Error> {
    rustix::fs::fcntl_add_seals(file, WRITTEN_HERE).map_err(|errno| match errno {
        Errno::INVAL => Error::Unsupported { what: "F_SEAL_FUTURE_WRITE", advice: "run on Linux 5.1 or later" },
        errno => os("fcntl(F_ADD_SEALS)")(errno),
    })
}

const MEMFD: MemfdFlags = MemfdFlags::CLOEXEC.union(MemfdFlags::ALLOW_SEALING);

fn huge_memfd(length: usize, pages: &Pages) -> Option<OwnedFd> {
    if !pages.are_huge() || !pages::has_huge_pages(length) {
        return None;
    }
    let flags = MEMFD | MemfdFlags::HUGETLB | MemfdFlags::from_bits_retain(pages::huge_page_bits());
    let file = rustix::fs::memfd_create("ringway", flags).ok()?;
    // Somebody else may have been faster.
    fallocate(file.as_fd(), length as u64).ok()?;
    Some(file)
}

/// Whether nobody can change the length of a file any more.
pub(crate) fn is_sealed(file: BorrowedFd<'_>) -> bool {
    has_seals(file, SEALS)
}

/// Whether, besides, nobody can write to it who could not before it was sealed.
pub(crate) fn is_sealed_for_writing(file: BorrowedFd<'_>) -> bool {
    has_seals(file, WRITTEN_HERE)
}

fn has_seals(file: BorrowedFd<'_>, expected: SealFlags) -> bool {
    // Only memory has seals at all.
    rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(expected))
}

/// Gives the file its length and every one of its pages now, so that no later access can fail for want of memory.
pub(crate) fn reserve(file: BorrowedFd<'_>, length: usize) -> Result<(), Error> {
    let needed = length as u64;
    // Asked before, because the kernel ends whoever exceeds it with a SIGXFSZ.
    if let Some(limit) = getrlimit(Resource::Fsize).current.filter(|limit| needed > *limit) {
        return Err(Error::Limit { what: "bytes of one file", needed, limit, path: "RLIMIT_FSIZE (`ulimit -f`)" });
    }
    // Asked before, because the kernel fills the mount (or, where that has no limit, the memory of the machine) up to
    // the last page before it gives up and takes everything back. Whoever else lives there would notice, and so might
    // the OOM killer.
    let available = available(file);
    if needed > available {
        return Err(Error::NoSpace { needed, available });
    }
    fallocate(file, needed)
}

/// Gives a file the pages that it lacks of its first `needed` bytes.
pub(crate) fn fallocate(file: BorrowedFd<'_>, needed: u64) -> Result<(), Error> {
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, needed) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::NOSPC | Errno::NOMEM | Errno::FBIG | Errno::DQUOT) => {
                return Err(Error::NoSpace { needed, available: available(file) });
            }
            Err(Errno::OPNOTSUPP) => return write_zeroes(file, needed),
            Err(errno) => return Err(os("fallocate")(errno)),
        }
    }
}

/// Gives an empty file its pages where the file system cannot do so by itself.
fn write_zeroes(file: BorrowedFd<'_>, needed: u64) -> Result<(), Error> {
    let zeroes = [0; 1 << 16];
    let mut done = 0;
    while done < needed {
        let length = zeroes.len().min((needed - done) as usize);
        match rustix::io::pwrite(file, &zeroes[..length], done) {
            Ok(written) => done += written as u64,
            Err(Errno::INTR) => {}
            Err(Errno::NOSPC | Errno::FBIG | Errno::DQUOT) => {
                return Err(Error::NoSpace { needed, available: available(file) });
            }
            Err(errno) => return Err(os("pwrite")(errno)),
        }
    }
    Ok(())
}

/// Bytes that the file system can still give, and the machine behind it if it is memory.
fn available(file: BorrowedFd<'_>) -> u64 {
    let mount = match rustix::fs::fstatvfs(file) {
        Ok(stat) if stat.f_blocks > 0 => stat.f_bavail.saturating_mul(stat.f_frsize),
        _ => u64::MAX,
    };
    if is_memory(file).unwrap_or(false) { mount.min(memory_available()) } else { mount }
}

/// Memory and swap that can be had without taking it from somebody; unlimited if /proc does not tell.
pub(crate) fn memory_available() -> u64 {
    std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_in(&text)).unwrap_or(u64::MAX)
}

fn available_in(text: &str) -> Option<u64> {
    let kib = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    Some((kib("MemAvailable")? + kib("SwapFree")?).saturating_mul(1024))
}

/// A new open file description of the same file, on which a lock of our own can lie.
///
/// `dup`, `fork` and passing over a socket all share the old description, and with it its locks.
pub(crate) fn reopen(file: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Error> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => no_proc(),
        // The descriptor may have been opened by somebody who may do more.
        Errno::ACCESS | Errno::PERM => denied("write to", name, rustix::fs::fstat(file).ok()),
        errno => os("open(/proc/self/fd)")(errno),
    })
}

/// The error where /proc is not mounted.
pub(crate) fn no_proc() -> Error {
    Error::Unsupported { what: "/proc", advice: "mount it: `mount -t proc proc /proc`" }
}

/// The error of an access that the kernel refused; `stat` is of what refused it.
pub(crate) fn denied(action: &'static str, name: &str, stat: Option<Stat>) -> Error {
    let (owner, mode) = stat.map_or((u32::MAX, 0), |stat| (stat.st_uid, stat.st_mode & 0o7777));
    Error::PermissionDenied { action, name: name.into(), owner, mode }
}

/// User id of the owner.
pub(crate) fn owner(file: BorrowedFd<'_>) -> Result<u32, Error> {
    Ok(rustix::fs::fstat(file).map_err(os("fstat"))?.st_uid)
}

/// Changes owner, group and permission bits.
pub(crate) fn set_access(
    file: BorrowedFd<'_>,
    name: &str,
    owner: Option<u32>,
    group: Option<u32>,
    mode: Option<u32>,
) -> Result<(), Error> {
    let refused = |call| {
        move |errno| match errno {
            Errno::PERM | Errno::ACCESS => denied("change", name, rustix::fs::fstat(file).ok()),
            errno => os(call)(errno),
        }
    };
    if let Some(mode) = mode {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).map_err(refused("fchmod"))?;
    }
    if owner.is_some() || group.is_some() {
        rustix::fs::fchown(file, owner.map(Uid::from_raw), group.map(Gid::from_raw)).map_err(refused("fchown"))?;
    }
    Ok(())
}

/// Refuses whatever is no regular file.
pub(crate) fn check_regular(file: BorrowedFd<'_>, name: &str) -> Result<(), Error> {
    let stat = rustix::fs::fstat(file).map_err(os("fstat"))?;
    let found = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        _ => "a special file",
    };
    Err(Error::NotARegion { name: name.into(), found: found.into() })
}

/// Reads exactly `buffer.len()` bytes at `offset`; `false` if the file ends before.
///
/// A read of a file that somebody truncates meanwhile ends early; a read of its mapping would be a `SIGBUS`.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> Result<bool, Error> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(source) => Err(Error::Os { call: "pread", source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_swap_are_added() {
        let text =
            "MemTotal:       24659560 kB\nMemAvailable:   1000 kB\nSwapTotal: 9 kB\nSwapFree:              24 kB\n";
        assert_eq!(available_in(text), Some(1024 * 1024));
        assert_eq!(available_in("MemAvailable: many"), None);
        assert!(memory_available() > 0);
    }
}
