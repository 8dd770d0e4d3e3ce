//! The records and words in which a peer tells the others about itself.

use std::fs::File;

use zerocopy::{FromBytes, FromZeros};

use crate::error::Role;
use crate::layout::{self, PeerRecord};
use crate::memory::Memory;
use crate::peer::PeerState;
use crate::sync::Ordering;
use crate::sys::file;
use crate::sys::process::Identity;
use crate::wait::CLOSED;

/// Offset of the peer record of `role`.
pub(crate) fn record_offset(role: Role) -> usize {
    layout::PEERS + role.index() * layout::PEER_STRIDE
}

/// Writes who holds `role` now; the caller holds its lease.
pub(crate) fn write_record(memory: Memory, role: Role) {
    let identity = Identity::here();
    let offset = record_offset(role);
    let word = |field: usize| memory.word(offset + field);
    // Relaxed: diagnostics, except for the count, whose Release (pairs with the Acquire in the death test of
    // `channel::endpoint`) only has to come after the lease, which is a system call.
    word(memoffset::offset_of!(PeerRecord, pid)).store(identity.pid.into(), Ordering::Relaxed);
    word(memoffset::offset_of!(PeerRecord, start_time)).store(identity.start_time, Ordering::Relaxed);
    word(memoffset::offset_of!(PeerRecord, pid_namespace)).store(identity.pid_namespace, Ordering::Relaxed);
    let attaches = word(memoffset::offset_of!(PeerRecord, attaches));
    attaches.store(attaches.load(Ordering::Relaxed).wrapping_add(1).max(1), Ordering::Release);
}

/// What the region's file tells about the holder of `role`.
pub(crate) fn peer_state_in(file: &File, role: Role, leased: bool) -> PeerState {
    let mut event = [0; 4];
    let mut record = [0; size_of::<PeerRecord>()];
    // A file that was truncated under us tells nothing: zeroes, as for a peer that never was.
    let _ = file::read_at(file, &mut event, layout::event_offset(role) as u64);
    let _ = file::read_at(file, &mut record, record_offset(role) as u64);
    let record = PeerRecord::read_from_bytes(&record).unwrap_or_else(|_| PeerRecord::new_zeroed());
    let identity =
        Identity { pid: record.pid as u32, start_time: record.start_time, pid_namespace: record.pid_namespace };
    let closed = u32::from_le_bytes(event) & CLOSED != 0;
    PeerState::new(leased, closed, &record, leased && identity.is_stopped())
}
