//! Byte-range locks that belong to an open file description (`F_OFD_SETLK`, Linux 3.15).
//!
//! A mapping pins its description, so such a lock is held exactly as long as somebody can write through the mapping:
//! it survives `close` and a stopped process, and ends with `munmap`, `exec` or death, before the zombie is reaped.
//! Classic `fcntl` locks would end with any `close` of the file, `flock` has no ranges.

#![allow(unsafe_code)] // one of the rooms: rustix has no byte-range locks of this kind

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How a byte is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Beside other shared locks; needs a readable description.
    Shared,
    /// Alone; needs a writable description.
    Exclusive,
}

fn request(first: u64, count: u64, kind: Kind) -> libc::flock {
    // SAFETY: a struct of integers, for which zero is a value.
    let mut lock: libc::flock = unsafe { core::mem::zeroed() };
    lock.l_type = match kind {
        Kind::Shared => libc::F_RDLCK,
        Kind::Exclusive => libc::F_WRLCK,
    } as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = first as libc::off_t;
    lock.l_len = count as libc::off_t;
    lock
}

/// Takes the lock on `byte` for the description behind `file`, or changes the one that it has; `false` if another
/// description is in the way. Never blocks.
pub(crate) fn try_lock(file: BorrowedFd<'_>, byte: u64, kind: Kind) -> io::Result<bool> {
    let lock = request(byte, 1, kind);
    // SAFETY: the descriptor is open, and `lock` is a valid request that outlives the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

/// Whether a description other than `file`'s holds a lock on any of `count` bytes that a lock of this kind would have to
/// wait for.
pub(crate) fn would_wait(file: BorrowedFd<'_>, first: u64, count: u64, kind: Kind) -> io::Result<bool> {
    let mut lock = request(first, count, kind);
    // SAFETY: the descriptor is open, and `lock` is a valid request that the kernel may overwrite.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}
