//! Leases: who is alive, proved by the kernel.
//!
//! Each peer index k has one byte, `2^20 + k`, of the region's file. Its holder locks that byte on a *fresh* open file
//! description, maps the region through that description and closes the descriptor. The mapping pins the description,
//! so "locked" means exactly "somebody can still write through this mapping": it stays so under `SIGSTOP`, and ends with
//! `munmap`, `exec` and death. No clock and no pid takes part.
//!
//! A child that another thread forks between the opening of the description and `madvise(MADV_DONTFORK)` keeps the lease,
//! too, until it ends or calls `exec`. That errs on the safe side: nobody who can still write is ever taken for dead.
//!
//! More bytes, just below, are locked *shared*: one by every process that has the region open in any way, so that "nobody
//! has it open" can be proved as well, before a leftover region is thrown away; and one a role by every peer of an MPMC
//! region, so that "no sender is left" is one question, too.
//!
//! Memory that is no file, or not one by itself, has its leases on a file beside it, which the holder maps together with the
//! memory: see `region::store`. A channel between threads has no file at all; its leases are flags, which end with the handle.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Error, Role};
use crate::layout;
use crate::sys::file;
use crate::sys::lock::{self, Kind};

/// Byte of peer index 0.
const FIRST_BYTE: u64 = 1 << 20;
/// Byte that everybody who has the region open locks shared.
const OPEN_BYTE: u64 = FIRST_BYTE - 2;

/// Byte that every peer of an MPMC region locks shared, beside its own: one query tells whether a role has any.
fn role_byte(role: Role) -> u64 {
    match role {
        Role::Sender => FIRST_BYTE - 3,
        Role::Receiver => FIRST_BYTE - 4,
    }
}

impl Role {
    /// The peer index of this role in an SPSC region.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Sender => 0,
            Self::Receiver => 1,
        }
    }

    /// The role at the other end.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

fn os(source: io::Error) -> Error {
    match source.raw_os_error() {
        // EINVAL: a kernel (or an emulation of one) without locks of this kind.
        Some(libc::EINVAL | libc::ENOSYS) => {
            Error::Unsupported { what: "F_OFD_SETLK", advice: "run on Linux 3.15 or later" }
        }
        _ => Error::Os { call: "fcntl(F_OFD_SETLK)", source },
    }
}

/// Takes the lease of the first of `indexes` that is free, on a fresh description of `file`, which is joined to `role` if
/// there is one; `None` if none is free.
pub(crate) fn take(
    file: BorrowedFd<'_>,
    name: &str,
    indexes: &mut dyn Iterator<Item = usize>,
    role: Option<Role>,
) -> Result<Option<(OwnedFd, usize)>, Error> {
    let fresh = file::reopen(file, name)?;
    for index in indexes {
        if lock::try_lock(fresh.as_fd(), FIRST_BYTE + index as u64, Kind::Exclusive).map_err(os)? {
            if let Some(role) = role {
                join(fresh.as_fd(), role)?;
            }
            return Ok(Some((fresh, index)));
        }
    }
    Ok(None)
}

/// Whether somebody holds the lease of peer `index`; `file` is any description other than the holder's.
///
/// Shared locks do not count: whoever may only read the region could take one, and feign a life. A query that fails
/// counts as held: that is merely conservative.
pub(crate) fn is_held(file: BorrowedFd<'_>, index: usize) -> bool {
    lock::would_wait(file, FIRST_BYTE + index as u64, 1, Kind::Shared).unwrap_or(true)
}

/// Whether anybody holds any lease.
pub(crate) fn is_any_held(file: BorrowedFd<'_>) -> bool {
    lock::would_wait(file, FIRST_BYTE, layout::MPMC_PEERS_MAX as u64, Kind::Shared).unwrap_or(true)
}

/// Adds the description behind `file` to those that hold `role`, for as long as it holds its lease.
fn join(file: BorrowedFd<'_>, role: Role) -> Result<(), Error> {
    match lock::try_lock(file, role_byte(role), Kind::Shared) {
        // Nobody ever locks that byte exclusively but a vandal; the lease alone then has to do.
        Ok(_) => Ok(()),
        Err(error) => Err(os(error)),
    }
}

/// Whether anybody holds `role`.
pub(crate) fn is_role_held(file: BorrowedFd<'_>, role: Role) -> bool {
    lock::would_wait(file, role_byte(role), 1, Kind::Exclusive).unwrap_or(true)
}

/// Announces that the description behind `file` has the region open; `false` if somebody is throwing it away.
pub(crate) fn announce_open(file: BorrowedFd<'_>) -> Result<bool, Error> {
    lock::try_lock(file, OPEN_BYTE, Kind::Shared).map_err(os)
}

/// Whether nobody but, at most, the description behind `file` has announced itself; if so, nobody else can until it
/// closes.
pub(crate) fn claim_abandoned(file: BorrowedFd<'_>) -> Result<bool, Error> {
    lock::try_lock(file, OPEN_BYTE, Kind::Exclusive).map_err(os)
}
