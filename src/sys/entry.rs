//! Entries of a directory: finished files appear under a name all at once, and a name is removed only while it leads to
//! the file that is meant.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::posix::{self, Name};
use super::{disk, file, lock, os};
use crate::error::Error;

/// Locked by whoever is about to remove the name of a file, in that file; and by whoever is still writing a draft.
const REMOVAL_BYTE: u64 = (1 << 20) - 1;
/// What the names of drafts begin with, where a file cannot be without a name.
const DRAFT: &str = ".ringway-draft-";

/// Where an entry lies.
#[derive(Clone, Debug)]
enum Place {
    SharedMemory,
    Disk(PathBuf),
}

/// A name in a directory, whatever it leads to.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    place: Place,
    leaf: OsString,
    label: String,
}

/// A file that is not under its name yet: whoever dies now leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Draft<'e> {
    entry: &'e Entry,
    directory: OwnedFd,
    file: OwnedFd,
    /// Where the file system knows no files without names.
    temporary: Option<Temporary>,
}

/// The name of a draft, and the lock that says that somebody is at it.
#[derive(Debug)]
struct Temporary {
    name: String,
    _guard: OwnedFd,
}

impl Entry {
    /// A name in POSIX shared memory.
    pub(crate) fn of_name(name: &Name) -> Self {
        Self { place: Place::SharedMemory, leaf: name.as_str().into(), label: name.as_str().into() }
    }

    /// A path, which from now on means the same in every working directory.
    pub(crate) fn of_path(path: &Path) -> Result<Self, Error> {
        let path = std::path::absolute(path).map_err(|source| Error::Os { call: "getcwd", source })?;
        let label = format!("file:{}", path.display());
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(leaf)) => Ok(Self { place: Place::Disk(parent.into()), leaf: leaf.into(), label }),
            _ => Err(Error::InvalidName { name: label, reason: "it names a directory" }),
        }
    }

    /// The same, called otherwise in errors.
    pub(crate) fn called(self, label: &str) -> Self {
        Self { label: label.into(), ..self }
    }

    /// Gives what is there another name, in place of whatever had that.
    pub(crate) fn rename(&self, to: &Self) -> Result<(), Error> {
        rustix::fs::renameat(self.directory()?, &self.leaf, to.directory()?, &to.leaf).map_err(os("renameat"))
    }

    /// What people call it.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Opens the directory, after checking that it can be used.
    fn directory(&self) -> Result<OwnedFd, Error> {
        match &self.place {
            Place::SharedMemory => posix::directory(),
            Place::Disk(path) => disk::directory(path),
        }
    }

    /// A file of `length` reserved bytes, of exactly this mode and, if one is named, of this group.
    pub(crate) fn draft(&self, length: usize, mode: u32, group: Option<u32>) -> Result<Draft<'_>, Error> {
        let directory = self.directory()?;
        // The verdict is `publish`'s; this one comes before a region's worth of memory is reserved in vain.
        if rustix::fs::statat(&directory, &self.leaf, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Err(self.exists());
        }
        let (file, temporary) = match unnamed(&directory) {
            Ok(file) => (file, None),
            // EISDIR, EINVAL: kernels and file systems that have never heard of it.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let (file, temporary) = self.temporary(&directory)?;
                (file, Some(temporary))
            }
            Err(errno) => return Err(self.create_error(errno, directory.as_fd(), length)),
        };
        let draft = Draft { entry: self, directory, file, temporary };
        file::reserve(draft.file.as_fd(), length)?;
        // The group first, lest another one gets the mode's permissions. Not left to the umask: the mode is part of the
        // request.
        file::set_access(draft.file.as_fd(), &self.label, None, group, None)?;
        file::set_access(draft.file.as_fd(), &self.label, None, None, Some(mode))?;
        Ok(draft)
    }

    /// A file under a name that nobody looks for, which stays if this process is killed: the next one to come here sees
    /// from the lock that nobody is at it any more.
    fn temporary(&self, directory: &OwnedFd) -> Result<(OwnedFd, Temporary), Error> {
        sweep(directory);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        loop {
            let mut random = [0; 8];
            rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty()).map_err(os("getrandom"))?;
            let name = format!("{DRAFT}{}-{:016x}", std::process::id(), u64::from_ne_bytes(random));
            let file = match rustix::fs::openat(directory, &name, flags, Mode::from_raw_mode(0o600)) {
                Ok(file) => file,
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(self.create_error(errno, directory.as_fd(), 0)),
            };
            let guard = file::reopen(file.as_fd(), &self.label)?;
            let locked = lock::try_lock(guard.as_fd(), REMOVAL_BYTE, lock::Kind::Exclusive)
                .map_err(|source| Error::Os { call: "fcntl(F_OFD_SETLK)", source })?;
            // Between its creation and the lock somebody may have swept it away.
            if locked && leads_to(directory, name.as_ref(), file.as_fd())? {
                return Ok((file, Temporary { name, _guard: guard }));
            }
        }
    }

    /// Opens the file for reading and writing.
    pub(crate) fn open(&self) -> Result<OwnedFd, Error> {
        self.open_with(OFlags::RDWR)
    }

    /// Opens the file for reading only.
    pub(crate) fn open_read_only(&self) -> Result<OwnedFd, Error> {
        self.open_with(OFlags::RDONLY)
    }

    fn open_with(&self, access: OFlags) -> Result<OwnedFd, Error> {
        let directory = self.directory()?;
        let file = open_in(&directory, &self.leaf, access).map_err(|errno| match errno {
            Errno::NOENT => Error::NotFound { name: self.label.clone() },
            Errno::ACCESS | Errno::PERM => {
                let stat = rustix::fs::statat(&directory, &self.leaf, AtFlags::SYMLINK_NOFOLLOW).ok();
                file::denied("open", &self.label, stat)
            }
            Errno::ROFS => self.read_only(),
            Errno::LOOP => self.not_a_region("a symbolic link"),
            Errno::ISDIR => self.not_a_region("a directory"),
            Errno::NXIO => self.not_a_region("a socket"),
            errno => os("open")(errno),
        })?;
        file::check_regular(file.as_fd(), &self.label)?;
        Ok(file)
    }

    /// Removes the name if it still leads to this file; `false` if it no longer does, or somebody else is removing it.
    ///
    /// Everybody who removes a name first locks [`REMOVAL_BYTE`] of the file that it leads to, and a name changes only by
    /// removal and by linking to a free name. So between the comparison and the removal nobody of us can change it. The
    /// lock is only tried: a process that was stopped while holding it must not stop us.
    pub(crate) fn unlink_if_same(&self, file: BorrowedFd<'_>) -> Result<bool, Error> {
        let directory = self.directory()?;
        // A description of its own, so that the lock ends right here.
        let guard = file::reopen(file, &self.label)?;
        remove(&directory, &self.leaf, guard.as_fd()).map_err(|error| match error {
            Error::Os { source, .. } => match Errno::from_io_error(&source) {
                Some(Errno::ACCESS | Errno::PERM) => self.denied("remove", directory.as_fd()),
                Some(Errno::ROFS) => self.read_only(),
                _ => Error::Os { call: "unlinkat", source },
            },
            error => error,
        })
    }

    /// Whether the name leads to this very file.
    pub(crate) fn leads_to(&self, file: BorrowedFd<'_>) -> Result<bool, Error> {
        leads_to(&self.directory()?, &self.leaf, file)
    }

    /// Makes the name survive a crash of the machine.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        rustix::fs::fsync(self.directory()?).map_err(os("fsync"))
    }

    fn exists(&self) -> Error {
        Error::AlreadyExists { name: self.label.clone() }
    }

    fn not_a_region(&self, found: &str) -> Error {
        Error::NotARegion { name: self.label.clone(), found: found.into() }
    }

    fn read_only(&self) -> Error {
        let path = match &self.place {
            Place::SharedMemory => posix::DIRECTORY.into(),
            Place::Disk(path) => path.display().to_string(),
        };
        Error::ReadOnly { path }
    }

    fn denied(&self, action: &'static str, directory: BorrowedFd<'_>) -> Error {
        file::denied(action, &self.label, rustix::fs::fstat(directory).ok())
    }

    fn create_error(&self, errno: Errno, directory: BorrowedFd<'_>, length: usize) -> Error {
        match errno {
            Errno::ACCESS | Errno::PERM => self.denied("create", directory),
            Errno::ROFS => self.read_only(),
            Errno::NOSPC | Errno::DQUOT => Error::NoSpace { needed: length as u64, available: 0 },
            errno => os("open(O_TMPFILE)")(errno),
        }
    }
}

impl Draft<'_> {
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Gives the finished file its name, all at once; fails if the name is in use.
    pub(crate) fn publish(mut self) -> Result<OwnedFd, Error> {
        let (entry, directory) = (self.entry, &self.directory);
        let file = self.file.try_clone().map_err(|source| Error::Os { call: "dup", source })?;
        let published = match &self.temporary {
            None => {
                let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(rustix::fs::CWD, path, directory, &entry.leaf, AtFlags::SYMLINK_FOLLOW)
            }
            Some(Temporary { name, .. }) => {
                match rustix::fs::renameat_with(directory, name, directory, &entry.leaf, RenameFlags::NOREPLACE) {
                    // A file system that would only replace; then the draft's name goes when this value does.
                    Err(Errno::INVAL) => rustix::fs::linkat(directory, name, directory, &entry.leaf, AtFlags::empty()),
                    outcome => outcome,
                }
            }
        };
        published.map_err(|errno| match errno {
            Errno::NOENT => file::no_proc(),
            Errno::EXIST => entry.exists(),
            Errno::ACCESS | Errno::PERM => entry.denied("create", directory.as_fd()),
            errno => os("linkat")(errno),
        })?;
        self.discard();
        Ok(file)
    }

    /// Removes the draft's name, if it still has one.
    fn discard(&mut self) {
        if let Some(Temporary { name, .. }) = self.temporary.take() {
            let _ = rustix::fs::unlinkat(&self.directory, &name, AtFlags::empty());
        }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        self.discard();
    }
}

fn unnamed(directory: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::openat(directory, ".", flags, Mode::from_raw_mode(0o600))
}

fn open_in(directory: &OwnedFd, leaf: &OsStr, access: OFlags) -> rustix::io::Result<OwnedFd> {
    // O_NOFOLLOW: the directory may be writable by everybody, and a link could lead anywhere. O_NONBLOCK: a FIFO of that
    // name must not hang us.
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    rustix::fs::openat(directory, leaf, flags, Mode::empty())
}

/// Removes `leaf` if it leads to the file behind `guard`, and nobody else is at it.
fn remove(directory: &OwnedFd, leaf: &OsStr, guard: BorrowedFd<'_>) -> Result<bool, Error> {
    let alone = lock::try_lock(guard, REMOVAL_BYTE, lock::Kind::Exclusive)
        .map_err(|source| Error::Os { call: "fcntl(F_OFD_SETLK)", source })?;
    if !alone || !leads_to(directory, leaf, guard)? {
        return Ok(false);
    }
    match rustix::fs::unlinkat(directory, leaf, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(os("unlinkat")(errno)),
    }
}

fn leads_to(directory: &OwnedFd, leaf: &OsStr, file: BorrowedFd<'_>) -> Result<bool, Error> {
    let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
    let ours = rustix::fs::fstat(file).map_err(os("fstat"))?;
    match rustix::fs::statat(directory, leaf, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(identity(stat) == identity(ours)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(os("fstatat")(errno)),
    }
}

/// Removes the drafts of killed processes. What cannot be looked at or removed is somebody else's.
fn sweep(directory: &OwnedFd) {
    let entries = Dir::read_from(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_bytes().starts_with(DRAFT.as_bytes())) {
        let leaf: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(entry.file_name().to_bytes());
        if let Ok(guard) = open_in(directory, leaf, OFlags::RDWR) {
            let _ = remove(directory, leaf, guard.as_fd());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that goes with this value.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ringway-entry-{}-{name}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(&self.0).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// As where the file system knows no files without names.
    fn named_draft(entry: &Entry) -> Draft<'_> {
        let directory = entry.directory().unwrap();
        let (file, temporary) = entry.temporary(&directory).unwrap();
        Draft { entry, directory, file, temporary: Some(temporary) }
    }

    #[test]
    fn a_draft_with_a_name_becomes_the_entry_or_nothing() {
        let scratch = Scratch::new("publish");
        let entry = Entry::of_path(&scratch.0.join("x")).unwrap();
        let (first, second) = (named_draft(&entry), named_draft(&entry));
        assert_eq!(scratch.names().len(), 2);
        let file = first.publish().unwrap();
        assert!(entry.leads_to(file.as_fd()).unwrap());
        assert!(matches!(second.publish(), Err(Error::AlreadyExists { .. })));
        assert_eq!(scratch.names(), ["x"]);
        drop(named_draft(&entry));
        assert_eq!(scratch.names(), ["x"]);
    }

    #[test]
    fn drafts_of_the_dead_are_swept_and_those_of_the_living_are_not() {
        let scratch = Scratch::new("sweep");
        let entry = Entry::of_path(&scratch.0.join("x")).unwrap();
        let (mut killed, living) = (named_draft(&entry), named_draft(&entry));
        let Temporary { name, _guard } = killed.temporary.take().unwrap();
        drop(_guard);
        assert!(scratch.names().contains(&name));
        let third = named_draft(&entry);
        assert!(!scratch.names().contains(&name));
        assert_eq!(scratch.names().len(), 2);
        drop((living, third));
        assert!(scratch.names().is_empty());
    }
}
