//! System V shared memory: keys, segments, and what the kernel tells about them.

#![allow(unsafe_code)] // one of the rooms: rustix has no System V calls

use core::ffi::c_void;
use core::fmt;
use core::ptr::{NonNull, null, null_mut};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

use super::map::View;
use super::pages::{self, Span};
use super::{file, numa, os};
use crate::error::Error;
use crate::pages::Pages;
use crate::sys::process::ForkMark;

/// Bits of the mode beside the permissions: the segment goes with its last attachment.
const SHM_DEST: u32 = 0o1000;

/// By what a segment is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// By nothing: a new segment, which gets an id.
    Private,
    /// A number other than 0.
    Number(i32),
    /// A file, of which `ftok` makes a number, together with a byte.
    Path { path: PathBuf, project: u8 },
    /// The kernel's own number of a segment, which lasts as long as that.
    Id(i32),
}

impl Key {
    /// What follows `sysv:`, or what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const REASON: &str =
            "write sysv:0x1234 for a key, sysv:PATH#proj for a key of a file, sysv:id=N, or sysv:private";
        if let Some((path, project)) = text.rsplit_once('#') {
            if path.is_empty() || path.contains('\0') {
                return Err(REASON);
            }
            let mut characters = project.chars();
            let project = match (characters.next(), characters.next()) {
                // As in C, where a letter is a number.
                (Some(letter), None) if letter.is_ascii() && !letter.is_ascii_digit() => letter as u8,
                _ => number(project).and_then(|number| u8::try_from(number).ok()).unwrap_or(0),
            };
            if project == 0 {
                return Err("behind the # of a key stands a letter or a number from 1 to 255");
            }
            return Ok(Self::Path { path: path.into(), project });
        }
        match text {
            "" | "private" => Ok(Self::Private),
            text => match text.strip_prefix("id=") {
                Some(id) => id.parse().ok().filter(|id| *id >= 0).map(Self::Id).ok_or(REASON),
                None => match number(text) {
                    Some(0) => Err("the key 0 means a private segment; write sysv:private"),
                    Some(number) => Ok(Self::Number(number as i32)),
                    None => Err(REASON),
                },
            },
        }
    }

    /// The key, as a number; 0 if there is none.
    pub(crate) fn number(&self) -> Result<i32, Error> {
        match self {
            Self::Private | Self::Id(_) => Ok(0),
            Self::Number(number) => Ok(*number),
            Self::Path { path, project } => ftok(path, *project),
        }
    }
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::Number(number) => write!(f, "{:#x}", number),
            Self::Path { path, project } if project.is_ascii_alphabetic() => {
                write!(f, "{}#{}", path.display(), *project as char)
            }
            Self::Path { path, project } => write!(f, "{}#{project}", path.display()),
            Self::Id(id) => write!(f, "id={id}"),
        }
    }
}

/// The key of a file and a byte: the low bits of its inode, its device, and the byte.
fn ftok(path: &Path, project: u8) -> Result<i32, Error> {
    let stat = rustix::fs::stat(path).map_err(|errno| match errno {
        Errno::NOENT => Error::NoKeyFile { path: path.display().to_string() },
        errno => os("stat")(errno),
    })?;
    Ok((u32::from(project) << 24 | (stat.st_dev as u32 & 0xff) << 16 | (stat.st_ino as u32 & 0xffff)) as i32)
}

/// A segment, by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment(pub(crate) i32);

/// What the kernel says about a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) length: usize,
    pub(crate) owner: u32,
    pub(crate) mode: u32,
    /// Whether it is removed, and goes with its last attachment.
    pub(crate) removed: bool,
    pub(crate) creator: u32,
    /// When it was created, or its mode last changed, in seconds since 1970.
    pub(crate) changed: i64,
    pub(crate) attachments: u64,
}

fn check(result: i32) -> rustix::io::Result<i32> {
    if result >= 0 { Ok(result) } else { Err(errno()) }
}

fn errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

impl Segment {
    /// A new segment of `length` bytes, of that key unless it is 0; of huge pages, if they are asked for and there are any
    /// left.
    pub(crate) fn create(key: i32, length: usize, mode: u32, pages: &Pages, label: &str) -> Result<Self, Error> {
        let (needed, available) = (length as u64, file::memory_available());
        let flags = libc::IPC_CREAT | libc::IPC_EXCL | (mode & 0o777) as i32;
        if pages.are_huge() && pages::has_huge_pages(length) {
            let huge = libc::SHM_HUGETLB | pages::huge_page_bits() as i32;
            // SAFETY: takes numbers only.
            if let Ok(id) = check(unsafe { libc::shmget(key, length, flags | huge) }) {
                return Ok(Self(id));
            }
        }
        // The kernel would hand out addresses, and the machine run out of memory behind them.
        if needed > available {
            return Err(Error::NoSpace { needed, available });
        }
        // SAFETY: takes numbers only.
        let result = check(unsafe { libc::shmget(key, length, flags) });
        result.map(Self).map_err(|errno| match errno {
            Errno::EXIST => Error::AlreadyExists { name: label.into() },
            Errno::INVAL => limit("bytes of one System V segment", needed, "/proc/sys/kernel/shmmax"),
            Errno::NOSPC => {
                let segments = segments().len() as u64 + 1;
                if segments > read_limit("/proc/sys/kernel/shmmni") {
                    limit("System V segments", segments, "/proc/sys/kernel/shmmni")
                } else {
                    let pages = needed.div_ceil(rustix::param::page_size() as u64);
                    limit("more pages of System V segments in all", pages, "/proc/sys/kernel/shmall")
                }
            }
            Errno::NOMEM => Error::NoSpace { needed, available },
            errno => os("shmget")(errno),
        })
    }

    /// The segment of that key.
    pub(crate) fn find(key: i32) -> rustix::io::Result<Self> {
        // SAFETY: takes numbers only.
        check(unsafe { libc::shmget(key, 0, 0) }).map(Self)
    }

    /// Whether there is one of that id, even if this user may not look at it.
    pub(crate) fn exists(self) -> bool {
        !matches!(self.status(), Err(Errno::INVAL | Errno::IDRM))
    }

    pub(crate) fn stat(self) -> rustix::io::Result<Stat> {
        let buffer = self.status()?;
        let mode = u32::from(buffer.shm_perm.mode);
        Ok(Stat {
            length: buffer.shm_segsz,
            owner: buffer.shm_perm.uid,
            mode: mode & 0o777,
            removed: mode & SHM_DEST != 0,
            creator: buffer.shm_cpid as u32,
            changed: buffer.shm_ctime,
            attachments: buffer.shm_nattch,
        })
    }

    /// Bytes of it that were ever touched; `None` if /proc does not tell.
    pub(crate) fn allocated(self) -> Option<u64> {
        segments().into_iter().find(|listed| listed.segment == self).map(|listed| listed.allocated)
    }

    fn status(self) -> rustix::io::Result<libc::shmid_ds> {
        // SAFETY: a struct of integers, for which zero is a value.
        let mut buffer: libc::shmid_ds = unsafe { core::mem::zeroed() };
        // SAFETY: the buffer is valid for writes and outlives the call.
        check(unsafe { libc::shmctl(self.0, libc::IPC_STAT, &mut buffer) })?;
        Ok(buffer)
    }

    /// Changes owner, group and permission bits.
    pub(crate) fn set(self, owner: Option<u32>, group: Option<u32>, mode: Option<u32>) -> rustix::io::Result<()> {
        let mut buffer = self.status()?;
        let permissions = &mut buffer.shm_perm;
        permissions.uid = owner.unwrap_or(permissions.uid);
        permissions.gid = group.unwrap_or(permissions.gid);
        permissions.mode = mode.map_or(permissions.mode, |mode| (mode & 0o777) as _);
        // SAFETY: the buffer is valid for reads and outlives the call.
        check(unsafe { libc::shmctl(self.0, libc::IPC_SET, &mut buffer) }).map(drop)
    }

    /// Has it go with its last attachment.
    pub(crate) fn remove(self) -> rustix::io::Result<()> {
        self.control(libc::IPC_RMID)
    }

    /// Keeps its pages from being swapped out, or no longer.
    pub(crate) fn lock(self, keep: bool) -> rustix::io::Result<()> {
        self.control(if keep { libc::SHM_LOCK } else { libc::SHM_UNLOCK })
    }

    fn control(self, command: i32) -> rustix::io::Result<()> {
        // SAFETY: these commands take no buffer.
        check(unsafe { libc::shmctl(self.0, command, null_mut()) }).map(drop)
    }
}

/// How a segment is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// For reading; children inherit it.
    Read,
    /// For a role: children do not have it.
    Write,
}

/// A segment in the address space of this process.
#[derive(Debug)]
pub(crate) struct Attached {
    base: NonNull<c_void>,
    length: usize,
    usage: Use,
    mark: ForkMark,
}

// SAFETY: an attachment belongs to the process, not to a thread.
unsafe impl Send for Attached {}
// SAFETY: its methods only read its own fields, or make atomic accesses.
unsafe impl Sync for Attached {}

impl Attached {
    pub(crate) fn for_reading(segment: Segment) -> rustix::io::Result<Self> {
        Self::new(segment, segment.stat()?.length, Use::Read, None)
    }

    /// Where `pages` wants it to begin; `refused` is the error if the kernel does not attach it.
    pub(crate) fn for_writing(
        segment: Segment,
        pages: &Pages,
        refused: impl FnOnce(Errno) -> Error,
    ) -> Result<Self, Error> {
        let length = segment.stat().map_err(os("shmctl"))?.length;
        let span = Span::reserve(length, pages)?;
        let attached = Self::new(segment, length, Use::Write, span).map_err(refused)?;
        // SAFETY: the range is exactly the attachment made above; the advice concerns children only.
        let advised = unsafe { madvise(attached.base.as_ptr(), length, Advice::LinuxDontFork) };
        advised.map_err(os("madvise(MADV_DONTFORK)"))?;
        Ok(attached)
    }

    fn new(segment: Segment, length: usize, usage: Use, span: Option<Span>) -> rustix::io::Result<Self> {
        let mark = ForkMark::here().map_err(|_| Errno::NOMEM)?;
        let flags = if usage == Use::Read { libc::SHM_RDONLY } else { 0 };
        let (place, over) = span.as_ref().map_or((null(), 0), |span| (span.base().cast_const(), libc::SHM_REMAP));
        // SAFETY: an address of the kernel's choice, or what was set aside, overlays nothing that anybody uses.
        let base = unsafe { libc::shmat(segment.0, place, flags | over) };
        if base.addr() == usize::MAX {
            return Err(errno());
        }
        if let Some(span) = span {
            span.give_up();
        }
        Ok(Self { base: NonNull::new(base).ok_or(Errno::NOMEM)?, length, usage, mark })
    }

    /// Makes the pages of an attachment for writing what is asked for.
    pub(crate) fn prepare(&self, pages: &Pages) -> Result<(), Error> {
        let _node = numa::prefer(pages.node)?;
        if pages.prefault {
            self.populate();
        }
        // SAFETY: exactly this attachment, readable and writable.
        unsafe { pages::prepare(self.base, self.length, pages) }
    }

    /// Gives it every page now, as far as the kernel can (Linux 5.14); else each comes with its first access.
    pub(crate) fn populate(&self) {
        // SAFETY: the range is exactly this attachment, and populating changes no byte.
        let _ = unsafe { madvise(self.base.as_ptr(), self.length, Advice::LinuxPopulateWrite) };
    }

    /// The first byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base.cast()
    }

    /// Bytes attached.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// To be read, no longer than this value lives.
    pub(crate) fn view(&self) -> View<'_> {
        // SAFETY: attached as long as `self`, page-aligned, and a segment never shrinks.
        unsafe { View::new(self.base.cast(), self.length) }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // In a child, an attachment for writing is not there, and something else may be.
        if self.usage == Use::Read || self.mark.is_ours() {
            // SAFETY: exactly this attachment, and whoever holds `Memory` over it is gone with its owner.
            let _ = unsafe { libc::shmdt(self.base.as_ptr()) };
        }
    }
}

/// A line of the kernel's list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed {
    pub(crate) key: i32,
    pub(crate) segment: Segment,
    pub(crate) creator: u32,
    /// Bytes of it that were ever touched, be they in memory or in swap.
    allocated: u64,
}

/// Every segment of this IPC namespace.
pub(crate) fn segments() -> Vec<Listed> {
    let text = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let listed = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let segment = Segment(fields.get(1)?.parse().ok()?);
        let creator = fields.get(4)?.parse().ok()?;
        let allocated = fields.get(14)?.parse::<u64>().ok()? + fields.get(15)?.parse::<u64>().ok()?;
        Some(Listed { key: fields[0].parse().ok()?, segment, creator, allocated })
    };
    text.lines().filter_map(listed).collect()
}

/// Tells this IPC namespace from others.
pub(crate) fn namespace() -> Result<u64, Error> {
    let namespace = rustix::fs::stat("/proc/self/ns/ipc").map_err(|_| file::no_proc())?;
    Ok(namespace.st_ino)
}

fn read_limit(path: &str) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX)
}

fn limit(what: &'static str, needed: u64, path: &'static str) -> Error {
    Error::Limit { what, needed, limit: read_limit(path), path }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn keys_of_files_are_those_of_the_c_library() {
        let path = std::env::current_exe().unwrap();
        let text = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        for project in [1, b'A', 255] {
            // SAFETY: a string that ends with a zero and outlives the call.
            let expected = unsafe { libc::ftok(text.as_ptr(), project.into()) };
            assert_eq!(ftok(&path, project).unwrap(), expected);
        }
        assert!(matches!(ftok(Path::new("/nowhere"), 1), Err(Error::NoKeyFile { .. })));
    }

    #[test]
    fn a_segment_is_created_found_listed_changed_and_removed() {
        let key = 0x5269_0000 | (std::process::id() as i32 & 0xffff);
        let usual = &Pages::USUAL;
        let segment = Segment::create(key, 5000, 0o640, usual, "it").unwrap();
        assert_eq!(Segment::find(key), Ok(segment));
        assert!(segments().iter().any(|listed| listed.key == key && listed.segment == segment));
        assert!(matches!(Segment::create(key, 5000, 0o600, usual, "it"), Err(Error::AlreadyExists { .. })));
        let attached = Attached::for_reading(segment).unwrap();
        assert_eq!(segment.allocated(), Some(0));
        Attached::for_writing(segment, usual, os("shmat")).unwrap().populate();
        assert_eq!(segment.allocated(), Some(8192), "whole pages, as Linux 5.14 and later give them");
        segment.set(None, None, Some(0o600)).unwrap();
        segment.lock(true).unwrap();
        segment.lock(false).unwrap();
        let stat = segment.stat().unwrap();
        assert_eq!((stat.length, stat.mode, stat.removed, stat.attachments), (5000, 0o600, false, 1));
        assert_eq!(stat.creator, std::process::id());
        segment.remove().unwrap();
        assert!(segment.stat().unwrap().removed, "somebody is attached");
        drop(attached);
        assert!(segment.stat().is_err());
        assert_eq!(Segment::find(key), Err(Errno::NOENT));
    }
}
