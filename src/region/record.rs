//! The records and words in which a peer tells the others about itself.

use zerocopy::{FromBytes, IntoBytes};

use super::store::Store;
use crate::error::Role;
use crate::layout::{self, Flavor, PeerRecord};
use crate::memory::Memory;
use crate::peer::PeerState;
use crate::sync::Ordering;
use crate::sys::process::Identity;
use crate::wait::CLOSED;

/// Writes that this process is peer `index` now; the caller holds its lease.
pub(crate) fn write_record(memory: Memory, flavor: Flavor, index: usize) {
    let identity = Identity::here();
    let word = |field| memory.word(flavor.record_offset(index) + field);
    // Relaxed: diagnostics, except for the count, whose Release (pairs with the Acquire in the death test of
    // `channel::endpoint`) only has to come after the lease, which is a system call.
    word(memoffset::offset_of!(PeerRecord, pid)).store(identity.pid.into(), Ordering::Relaxed);
    word(memoffset::offset_of!(PeerRecord, start_time)).store(identity.start_time, Ordering::Relaxed);
    word(memoffset::offset_of!(PeerRecord, pid_namespace)).store(identity.pid_namespace, Ordering::Relaxed);
    let attaches = word(memoffset::offset_of!(PeerRecord, attaches));
    attaches.store(attaches.load(Ordering::Relaxed).wrapping_add(1).max(1), Ordering::Release);
}

/// Enters peer `index` of an MPMC region on the roll of `role`; the caller holds its lease.
///
/// A killed predecessor in that index is struck off first. Killed itself in between, the roll counts one too many, never
/// one too few: then others learn of the end of this role from the leases alone, which takes longer.
pub(crate) fn enter_roll(memory: Memory, index: usize, role: Role) {
    strike_off(memory, index);
    let word = |field| memory.word(Flavor::Mpmc.record_offset(index) + field);
    memory.word(layout::roll_offset(role)).fetch_add(1 << 32 | 1, Ordering::AcqRel);
    word(memoffset::offset_of!(PeerRecord, quarantines)).store(0, Ordering::Relaxed);
    word(memoffset::offset_of!(PeerRecord, role)).store(role_code(role), Ordering::Relaxed);
    word(memoffset::offset_of!(PeerRecord, attached)).store(1, Ordering::Release);
}

/// Takes peer `index`, which is ending or dead, off the roll, if it is on it.
pub(crate) fn strike_off(memory: Memory, index: usize) {
    let word = |field| memory.word(Flavor::Mpmc.record_offset(index) + field);
    let role = match word(memoffset::offset_of!(PeerRecord, role)).load(Ordering::Relaxed) {
        layout::ROLE_SENDER => Role::Sender,
        layout::ROLE_RECEIVER => Role::Receiver,
        _ => return,
    };
    // First the record, then the roll: killed in between, the roll counts one too many.
    if word(memoffset::offset_of!(PeerRecord, attached)).swap(0, Ordering::AcqRel) == 1 {
        // Release: whatever this peer published is visible to whoever sees it gone.
        let roll = memory.word(layout::roll_offset(role));
        let _ = roll.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |roll| {
            // A hostile peer may have written anything; the high half must not be borrowed from.
            (roll as u32 != 0).then(|| roll - 1)
        });
    }
}

fn role_code(role: Role) -> u64 {
    match role {
        Role::Sender => layout::ROLE_SENDER,
        Role::Receiver => layout::ROLE_RECEIVER,
    }
}

/// The records of so many peers, in one call; those of a file that was truncated under us are zero, as for a peer that
/// never was.
fn read_records(store: &dyn Store, flavor: Flavor, first: usize, peers: usize) -> impl Iterator<Item = PeerRecord> {
    let mut table = vec![0; peers * layout::PEER_STRIDE / 8];
    let _ = store.read(&mut table, flavor.record_offset(first));
    let record = move |index: usize| {
        let (record, _) = PeerRecord::read_from_prefix(table[index * layout::PEER_STRIDE / 8..].as_bytes())
            .expect("it fits a stride");
        record
    };
    (0..peers).map(record)
}

fn state(record: &PeerRecord, leased: bool, closed: bool) -> PeerState {
    let identity =
        Identity { pid: record.pid as u32, start_time: record.start_time, pid_namespace: record.pid_namespace };
    PeerState::new(leased, closed, record, leased && identity.is_stopped())
}

/// What an SPSC region tells about the holder of `role`.
pub(crate) fn peer_state_in(store: &dyn Store, role: Role) -> PeerState {
    let closed = store.event(role) & CLOSED != 0;
    let record = read_records(store, Flavor::Spsc, role.index(), 1).next().expect("one was asked for");
    state(&record, store.is_held(role.index()), closed)
}

/// What an MPMC region tells about the peers of `role`: those that live, and those that crashed and whose index nobody
/// has taken since.
pub(crate) fn peer_states_in(store: &dyn Store, peers: usize, role: Role) -> Vec<PeerState> {
    let of_role = |(index, record): (usize, PeerRecord)| {
        (record.role == role_code(role) && record.attached == 1).then(|| state(&record, store.is_held(index), false))
    };
    read_records(store, Flavor::Mpmc, 0, peers).enumerate().filter_map(of_role).collect()
}
