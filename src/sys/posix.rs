//! Names of POSIX shared memory: files of the tmpfs at /dev/shm.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{file, os};
use crate::error::Error;

/// Where Linux keeps POSIX shared memory.
pub(crate) const DIRECTORY: &str = "/dev/shm";
/// The longest name that the file system takes.
const NAME_MAX: usize = 255;

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
            return invalid("it is longer than 255 bytes; 30 are portable to other systems");
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
        if name.contains(char::is_control) {
            return invalid("it contains a control character, which terminals obey");
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
    if file::is_memory(&directory)? { Ok(directory) } else { Err(not_mounted("a directory of a disk file system")) }
}

/// Every name in it.
pub(crate) fn names() -> Result<Vec<String>, Error> {
    let _mounted = directory()?;
    let entries = std::fs::read_dir(DIRECTORY).map_err(|source| Error::Os { call: "readdir", source })?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for bad in ["", ".", "..", "/", "/ticks", "a/b", "a\0b", "a\nb", "\u{1b}[2J", "\u{9b}", &"x".repeat(256)] {
            assert!(matches!(Name::new(bad), Err(Error::InvalidName { .. })), "{bad:?}");
        }
        for good in ["a", "ticks", "Ticks.2", "...", "mit Leerzeichen", &"x".repeat(255)] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
    }
}
