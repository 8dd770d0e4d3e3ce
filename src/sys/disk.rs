//! Directories of local file systems, where one kernel sees every lock and every page.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{file, os};
use crate::error::Error;

/// File systems whose files other machines may write, or whose locks and mappings a daemon makes up, by their numbers in
/// `statfs`.
const SHARED: [(u32, &str); 17] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "afs"),
    (0x7375_7245, "coda"),
    (0x564c, "ncp"),
    (0x6573_5546, "fuse"),
    (0x0116_1970, "gfs2"),
    (0x7461_636f, "ocfs2"),
    (0x0bd0_0bd0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x2003_0528, "orangefs"),
    (0x786f_4256, "vboxsf"),
];

/// Opens a directory, after checking that its file system is local.
pub(crate) fn directory(path: &Path) -> Result<OwnedFd, Error> {
    let label = || path.display().to_string();
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => Error::NoDirectory { path: label(), found: "no such directory" },
        Errno::NOTDIR => Error::NoDirectory { path: label(), found: "not a directory" },
        Errno::ACCESS | Errno::PERM => file::denied("open", &label(), rustix::fs::stat(path).ok()),
        errno => os("open")(errno),
    })?;
    check_local(&directory, &label())?;
    Ok(directory)
}

/// Refuses what lies on a file system that other machines may share.
pub(crate) fn check_local(file: impl std::os::fd::AsFd, label: &str) -> Result<(), Error> {
    let kind = rustix::fs::fstatfs(file).map_err(os("fstatfs"))?.f_type;
    match shared(kind as u32) {
        Some(kind) => Err(Error::NotLocal { name: label.into(), kind }),
        None => Ok(()),
    }
}

/// The name of a file system that is not local.
fn shared(number: u32) -> Option<&'static str> {
    SHARED.iter().find_map(|(shared, name)| (*shared == number).then_some(*name))
}

/// Makes the contents of a file survive a crash of the machine.
pub(crate) fn sync(file: BorrowedFd<'_>) -> Result<(), Error> {
    rustix::fs::fsync(file).map_err(os("fsync"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_other_machines_are_known() {
        assert_eq!(shared(0x6969), Some("nfs"));
        assert_eq!(shared(0xff53_4d42), Some("cifs"));
        assert_eq!(shared(0x6573_5546), Some("fuse"));
        // tmpfs, ext4, xfs, btrfs, overlayfs
        for local in [0x0102_1994, 0xef53, 0x5846_5342, 0x9123_683e, 0x794c_7630] {
            assert_eq!(shared(local), None);
        }
    }
}
