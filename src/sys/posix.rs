//! Names of POSIX shared memory: files of the tmpfs at /dev/shm.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{file, lock, os};
use crate::error::Error;

/// Where Linux keeps POSIX shared memory.
pub(crate) const DIRECTORY: &str = "/dev/shm";
/// The longest name that the file system takes.
const NAME_MAX: usize = 255;
/// Locked by whoever is about to remove the name of a file, in that file.
const REMOVAL_BYTE: u64 = (1 << 20) - 1;
const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// A checked name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn new(name: &str) -> Result<Self, Error> {
        let invalid = |reason| Err(Error::InvalidName { name: name.into(), reason });
        if name.is_empty() {
            return invalid("it is empty; give the channel a name such as `ticks`");
        }
        if name.len() > NAME_MAX {
            return invalid("it is longer than 255 bytes");
        }
        if name.contains('/') {
            return invalid("it contains a slash; names live in one flat directory, without a leading slash");
        }
        if name == "." || name == ".." {
            return invalid("it names a directory");
        }
        if name.contains('\0') {
            return invalid("it contains a zero byte");
        }
        Ok(Self(name.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Opens the directory, after checking that it is memory.
pub(crate) fn directory() -> Result<OwnedFd, Error> {
    let not_mounted = |found: &str| Error::NotMounted { path: DIRECTORY, found: found.into() };
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(DIRECTORY, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Err(not_mounted("no such directory")),
        Err(Errno::NOTDIR) => return Err(not_mounted("not a directory")),
        Err(errno) => return Err(os("open(/dev/shm)")(errno)),
    };
    let kind = rustix::fs::fstatfs(&directory).map_err(os("fstatfs"))?.f_type;
    if kind == TMPFS_MAGIC || kind == RAMFS_MAGIC {
        Ok(directory)
    } else {
        Err(not_mounted("a directory of a disk file system"))
    }
}

/// A file of `length` reserved bytes and exactly this mode, without a name: whoever dies now leaves nothing behind.
pub(crate) fn create_unnamed(name: &Name, length: usize, mode: u32) -> Result<OwnedFd, Error> {
    let directory = directory()?;
    // The verdict is `link`'s; this one comes before a region's worth of memory is reserved in vain.
    if rustix::fs::statat(&directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Err(Error::AlreadyExists { name: name.as_str().into() });
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, ".", flags, Mode::from_raw_mode(0o600)).map_err(|errno| match errno {
        Errno::ACCESS | Errno::PERM => denied("create", name, directory.as_fd()),
        Errno::ROFS => read_only(),
        Errno::NOSPC => Error::NoSpace { needed: length as u64, available: 0 },
        errno => os("open(O_TMPFILE)")(errno),
    })?;
    file::reserve(file.as_fd(), length)?;
    // Not left to the umask: the mode is part of the request.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(os("fchmod"))?;
    Ok(file)
}

/// Gives the finished file its name, all at once; fails if the name is in use.
pub(crate) fn link(file: BorrowedFd<'_>, name: &Name) -> Result<(), Error> {
    let directory = directory()?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let linked = rustix::fs::linkat(rustix::fs::CWD, path, &directory, name.as_str(), AtFlags::SYMLINK_FOLLOW);
    linked.map_err(|errno| match errno {
        Errno::NOENT => file::no_proc(),
        Errno::EXIST => Error::AlreadyExists { name: name.as_str().into() },
        Errno::ACCESS | Errno::PERM => denied("create", name, directory.as_fd()),
        errno => os("linkat")(errno),
    })
}

/// Opens the file of that name for reading and writing.
pub(crate) fn open(name: &Name) -> Result<OwnedFd, Error> {
    open_with(name, OFlags::RDWR)
}

/// Opens the file of that name for reading only.
pub(crate) fn open_read_only(name: &Name) -> Result<OwnedFd, Error> {
    open_with(name, OFlags::RDONLY)
}

fn open_with(name: &Name, access: OFlags) -> Result<OwnedFd, Error> {
    let directory = directory()?;
    // O_NOFOLLOW: the directory is writable by everybody, and a link could lead anywhere. O_NONBLOCK: a FIFO of that
    // name must not hang us.
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let not_a_region = |found: &str| Error::NotARegion { name: name.as_str().into(), found: found.into() };
    let file = rustix::fs::openat(&directory, name.as_str(), flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => Error::NotFound { name: name.as_str().into() },
        Errno::ACCESS | Errno::PERM => denied_file("open", name, &directory),
        Errno::ROFS => read_only(),
        Errno::LOOP => not_a_region("a symbolic link"),
        Errno::ISDIR => not_a_region("a directory"),
        Errno::NXIO => not_a_region("a socket"),
        errno => os("open")(errno),
    })?;
    file::check_regular(file.as_fd(), name.as_str())?;
    Ok(file)
}

/// Removes the name if it still leads to this file; `false` if it no longer does, or somebody else is removing it.
///
/// Everybody who removes a name first locks [`REMOVAL_BYTE`] of the file that it leads to, and a name changes only by
/// removal and `linkat` onto a free name. So between the comparison and the removal nobody of us can change it. The lock
/// is only tried: a process that was stopped while holding it must not stop us.
pub(crate) fn unlink_if_same(file: BorrowedFd<'_>, name: &Name) -> Result<bool, Error> {
    let directory = directory()?;
    // A description of its own, so that the lock ends right here.
    let guard = file::reopen(file, name.as_str())?;
    let alone = lock::try_lock(guard.as_fd(), REMOVAL_BYTE, lock::Kind::Exclusive)
        .map_err(|source| Error::Os { call: "fcntl(F_OFD_SETLK)", source })?;
    if !alone || !is_named(file, name, &directory)? {
        return Ok(false);
    }
    match rustix::fs::unlinkat(&directory, name.as_str(), AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(Errno::ACCESS | Errno::PERM) => Err(denied("remove", name, directory.as_fd())),
        Err(Errno::ROFS) => Err(read_only()),
        Err(errno) => Err(os("unlinkat")(errno)),
    }
}

/// Whether the name leads to this very file.
pub(crate) fn leads_to(name: &Name, file: BorrowedFd<'_>) -> Result<bool, Error> {
    is_named(file, name, &directory()?)
}

fn is_named(file: BorrowedFd<'_>, name: &Name, directory: &OwnedFd) -> Result<bool, Error> {
    let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
    let ours = rustix::fs::fstat(file).map_err(os("fstat"))?;
    match rustix::fs::statat(directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(identity(stat) == identity(ours)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(os("fstatat")(errno)),
    }
}

fn read_only() -> Error {
    Error::Unsupported {
        what: "writing to /dev/shm",
        advice: "it is mounted read-only: `mount -o remount,rw /dev/shm`",
    }
}

fn denied(action: &'static str, name: &Name, directory: BorrowedFd<'_>) -> Error {
    let stat = rustix::fs::fstat(directory).ok();
    file::denied(action, name.as_str(), stat)
}

fn denied_file(action: &'static str, name: &Name, directory: &OwnedFd) -> Error {
    file::denied(action, name.as_str(), rustix::fs::statat(directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for bad in ["", ".", "..", "/", "/ticks", "a/b", "a\0b", &"x".repeat(256)] {
            assert!(matches!(Name::new(bad), Err(Error::InvalidName { .. })), "{bad:?}");
        }
        for good in ["a", "ticks", "Ticks.2", "...", "mit Leerzeichen", &"x".repeat(255)] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
    }
}
