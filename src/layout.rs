//! Where everything lies in a region: the normative offsets, and the arithmetic that turns a header into a geometry.
//!
//! Every field is a little-endian integer of fixed width. Nothing here touches memory.
//!
//! ```text
//!      0  header page   magic | version | flavor | flags | capacity | payload size | payload alignment | stride
//!                       fingerprint | region length | instance | peers | schema length | checksum | usage
//!    128                schema text, up to the end of the page
//!   4096  peer table    SPSC only: the sender's and the receiver's record, 128 bytes each
//!   4352  lines         tail | head | receivers' event line | senders' event line, 128 bytes apart
//!   4864  MPMC: peer table   one 128-byte record a peer index
//!               slots        word | skip | payload, in whole cache lines
//!               redelivery   one word a slot
//!   8192  SPSC: blocks       the ring's messages, and nothing that a receiver writes
//!         guard         one 128-byte line, then up to a whole page
//! ```
//!
//! docs/LAYOUT.md says the same for readers in other languages; `tests/layout.rs` holds both to the golden bytes.

use static_assertions::const_assert;

use crate::error::{Error, Role};

#[cfg(not(target_endian = "little"))]
compile_error!("ringway's region format is little-endian, and so must the machine be");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("ringway maps regions that may be larger than a 32-bit address space");

/// The first word of every region, stored last by the creator: `RINGWAY` and a zero byte.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"RINGWAY\0");
/// Of the format that this file describes.
pub(crate) const VERSION: u64 = 2;
/// A single producer and a single consumer.
pub(crate) const FLAVOR_SPSC: u64 = 1;
/// Several of either, in any number of processes.
pub(crate) const FLAVOR_MPMC: u64 = 2;
/// Flag: a waiter issues `membarrier`, so a waker needs no fence, and an MPMC ring works in mode A. Clear: both sides
/// fence, and an MPMC ring works in mode C.
pub(crate) const FLAG_MEMBARRIER: u64 = 1;
/// Flag, beside a clear [`FLAG_MEMBARRIER`]: the creator wanted it, and the kernel or a sandbox refused.
pub(crate) const FLAG_REFUSED: u64 = 2;
/// Flag: the channel does not disconnect when the last peer of a role ends.
pub(crate) const FLAG_STAY_OPEN: u64 = 4;
/// Flag, SPSC: the blocks lie in a second file, which only its creator can write; the length of the region is of both.
pub(crate) const FLAG_ONE_WAY: u64 = 8;
/// Flag, MPMC: the messages of a batch share slots, see [`Slot`].
pub(crate) const FLAG_PACKED: u64 = 16;

/// Keeps two words from sharing a line, or a pair of lines that the prefetcher couples.
pub(crate) const PADDING: usize = 128;
/// What one cache line holds on the machines that we build for.
pub(crate) const LINE: usize = 64;
/// Regions are whole pages of this size.
pub(crate) const PAGE: usize = 4096;

/// The header as it lies in the region, in words of eight bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
pub(crate) struct Header {
    /// [`MAGIC`]
    pub(crate) magic: u64,
    /// [`VERSION`]
    pub(crate) version: u64,
    /// [`FLAVOR_SPSC`] or [`FLAVOR_MPMC`]
    pub(crate) flavor: u64,
    /// [`FLAG_MEMBARRIER`], [`FLAG_REFUSED`], [`FLAG_STAY_OPEN`], [`FLAG_ONE_WAY`], [`FLAG_PACKED`]
    pub(crate) flags: u64,
    /// Messages that fit, at least; in a packed ring the number of slots. Not 0.
    pub(crate) capacity: u64,
    /// `size_of::<T>()`
    pub(crate) payload_size: u64,
    /// `align_of::<T>()`
    pub(crate) payload_align: u64,
    /// Bytes from one message of a block to the next, as [`stride`] computes it; of an MPMC ring, from one slot to the
    /// next, as [`Slot::of`] does.
    pub(crate) stride: u64,
    /// Of the payload's schema.
    pub(crate) fingerprint: u64,
    /// Of the whole region in bytes, which is also the length of its file.
    pub(crate) region_length: u64,
    /// Random; tells two regions of one name apart.
    pub(crate) instance: u64,
    /// Records in the peer table.
    pub(crate) peers: u64,
    /// Bytes of schema text that follow at [`SCHEMA`].
    pub(crate) schema_length: u64,
    /// [`checksum`] of the page: damage is found, a forger is not.
    pub(crate) checksum: u64,
}

const_assert!(size_of::<Header>() <= SCHEMA);
const_assert!(memoffset::offset_of!(Header, magic) == 0);
const_assert!(memoffset::offset_of!(Header, capacity) == 32);
const_assert!(memoffset::offset_of!(Header, fingerprint) == 64);
const_assert!(memoffset::offset_of!(Header, checksum) == CHECKSUM);

/// Offset of the checksum.
const CHECKSUM: usize = 104;
/// Offset of the usage word, the only one of the header page that changes: generation (24 bits, counts the roles that
/// were taken), then the boot during which the region was used last (40 bits, as [`BOOT`] cuts them), or 0 if everything
/// has come to the disk since. Always 0 in memory that does not outlive the machine.
pub(crate) const USAGE: usize = 112;
const_assert!(size_of::<Header>() <= USAGE && USAGE + 8 <= SCHEMA);
/// The bits of a usage word that are about a boot.
pub(crate) const BOOT: u64 = (1 << 40) - 1;

/// FNV-1a of the header page, with what is stored later (magic, checksum, usage) taken as zero.
pub(crate) fn checksum(page: &[u8; PAGE]) -> u64 {
    let (magic, own) = (0..8, CHECKSUM..USAGE + 8);
    page.iter().enumerate().fold(0xcbf2_9ce4_8422_2325, |hash: u64, (offset, byte)| {
        let byte = if magic.contains(&offset) || own.contains(&offset) { 0 } else { *byte };
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Offset of the schema text.
pub(crate) const SCHEMA: usize = 128;
/// Longer schemas are cut here; the fingerprint still covers all of them.
pub(crate) const SCHEMA_MAX: usize = PAGE - SCHEMA;
/// Offset of an SPSC region's peer table.
const SPSC_PEER_TABLE: usize = PAGE;
/// Peer records of an SPSC region: the sender's and the receiver's.
pub(crate) const SPSC_PEERS: usize = 2;

/// One peer's record: diagnostics only, the truth about life is the lease.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
pub(crate) struct PeerRecord {
    /// Times that this index was attached; 0 = never.
    pub(crate) attaches: u64,
    /// Process id in the peer's own pid namespace.
    pub(crate) pid: u64,
    /// The process's start in clock ticks after boot, against pid reuse.
    pub(crate) start_time: u64,
    /// Inode of the pid namespace that `pid` is meant in.
    pub(crate) pid_namespace: u64,
    /// MPMC: the role that the index was attached in last, [`ROLE_SENDER`] or [`ROLE_RECEIVER`].
    pub(crate) role: u64,
    /// MPMC: 1 from attaching to a clean end. Still 1, and the lease free: the peer crashed.
    pub(crate) attached: u64,
    /// MPMC: times in a row that a send of this peer was quarantined; consumers are the more patient.
    pub(crate) quarantines: u64,
}

/// In [`PeerRecord::role`].
pub(crate) const ROLE_SENDER: u64 = 1;
/// In [`PeerRecord::role`].
pub(crate) const ROLE_RECEIVER: u64 = 2;

/// Distance between two peer records.
pub(crate) const PEER_STRIDE: usize = PADDING;
const_assert!(size_of::<PeerRecord>() <= PEER_STRIDE);
const_assert!(memoffset::offset_of!(PeerRecord, pid_namespace) == 24);

/// Offset of the shared words, the same in both flavors.
pub(crate) const LINES: usize = SPSC_PEER_TABLE + SPSC_PEERS * PEER_STRIDE;
/// Producers' position: a hint. SPSC: stored when the producer leaves a block, or at the end of a batch.
pub(crate) const TAIL: usize = LINES;
/// Consumers' position. SPSC: exact, stored with every take. MPMC: a hint.
pub(crate) const HEAD: usize = LINES + PADDING;
/// MPMC: 1 as soon as a message was received under a guard, for ever.
pub(crate) const GUARDED: usize = HEAD + 8;
/// MPMC: 1 while a message may be waiting for its redelivery.
pub(crate) const ORPHANED: usize = HEAD + 16;
/// The event word in which the receiver tells the sender about itself.
const RECEIVER_EVENT: usize = LINES + 2 * PADDING;
/// The event word in which the sender tells the receiver about itself.
const SENDER_EVENT: usize = LINES + 3 * PADDING;
/// Offset of the event word in which `role` tells the other side about itself.
#[inline(always)]
pub(crate) const fn event_offset(role: Role) -> usize {
    match role {
        Role::Sender => SENDER_EVENT,
        Role::Receiver => RECEIVER_EVENT,
    }
}

/// MPMC: offset of the roll of `role`, on the line of its event word: peers attached (low half) and attached ever (high
/// half). Crashed ones are still counted as attached, so 0 of some means that all of them left in good order.
#[inline(always)]
pub(crate) const fn roll_offset(role: Role) -> usize {
    event_offset(role) + 8
}

/// Offset just behind the shared words.
const LINES_END: usize = LINES + 4 * PADDING;
/// SPSC: offset of the first block. A page of their own, because the receiver never writes there, and need not be able to.
pub(crate) const BLOCKS: usize = 2 * PAGE;
const_assert!(LINES_END <= BLOCKS && BLOCKS % PAGE == 0);
/// MPMC: offset of the peer table.
const MPMC_PEER_TABLE: usize = LINES_END;

/// The kinds of channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// [`FLAVOR_SPSC`]
    Spsc,
    /// [`FLAVOR_MPMC`]
    Mpmc,
}

impl Flavor {
    /// The number in the header.
    pub(crate) const fn code(self) -> u64 {
        match self {
            Self::Spsc => FLAVOR_SPSC,
            Self::Mpmc => FLAVOR_MPMC,
        }
    }

    /// The flavor of that number.
    pub(crate) const fn of(code: u64) -> Option<Self> {
        match code {
            FLAVOR_SPSC => Some(Self::Spsc),
            FLAVOR_MPMC => Some(Self::Mpmc),
            _ => None,
        }
    }

    /// What people call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Spsc => "spsc",
            Self::Mpmc => "mpmc",
        }
    }

    /// Offset of the record of peer `index`.
    pub(crate) const fn record_offset(self, index: usize) -> usize {
        let table = match self {
            Self::Spsc => SPSC_PEER_TABLE,
            Self::Mpmc => MPMC_PEER_TABLE,
        };
        table + index * PEER_STRIDE
    }
}

/// Bytes of an MPMC slot before its payload: the word and the skip word. So much is left free in each further line of a
/// packed slot.
pub(crate) const SLOT_HEADER: usize = 16;
/// Messages in a packed slot ...
const PACKED_MESSAGES: usize = 48;
/// ... which has no more lines than this: fewer of either make batches slower, more hardly faster (docs/PROTOCOL.md).
const PACKED_LINES: usize = 16;
/// Peer indexes are 12 bits wide, and the last one means nobody.
pub(crate) const MPMC_PEERS_MAX: usize = 4095;
/// Fewer slots cannot be told apart from the ones behind them.
const MPMC_CAPACITY_MIN: u64 = 2;

/// The slots of an MPMC ring: whole lines, so that no two of them share one.
///
/// A slot holds one message; in a packed ring, some lines of messages that were sent in one batch, each line with as many as fit
/// behind its first [`SLOT_HEADER`] bytes. Of the first line, these are the slot's words. The first word
/// of another one means nothing: receivers store there in order to own the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Bytes from one slot to the next.
    pub(crate) size: usize,
    /// Messages in a slot, at most.
    pub(crate) messages: usize,
}

/// Messages in a slot, of whatever ring: six bits of its word count them.
pub(crate) const SLOT_MESSAGES_MAX: usize = 1 << 6;
const_assert!(PACKED_MESSAGES <= SLOT_MESSAGES_MAX);

impl Slot {
    /// The slot for a payload of `size` bytes; in a packed ring, if so small messages can be packed.
    pub(crate) const fn of(size: usize, packed: bool) -> Self {
        if packed && Self::packs(size) {
            let lines = PACKED_MESSAGES / Self::in_line(size);
            let lines = if lines > PACKED_LINES { PACKED_LINES } else { lines };
            Self { size: lines * LINE, messages: lines * Self::in_line(size) }
        } else {
            Self { size: (SLOT_HEADER + size).next_multiple_of(LINE), messages: 1 }
        }
    }

    /// Whether messages of `size` bytes can share a slot.
    pub(crate) const fn packs(size: usize) -> bool {
        size <= LINE - SLOT_HEADER
    }

    /// Bytes from one message of a line to the next.
    pub(crate) const fn step(size: usize) -> usize {
        stride(size).next_multiple_of(8)
    }

    /// Messages of `size` bytes in a line; at least 1, as a larger one begins in one, too.
    pub(crate) const fn in_line(size: usize) -> usize {
        let messages = (LINE - SLOT_HEADER) / Self::step(size);
        if messages == 0 { 1 } else { messages }
    }

    /// Offset of message `index` from the beginning of the slot.
    #[inline(always)]
    pub(crate) const fn place(size: usize, index: usize) -> usize {
        let in_line = Self::in_line(size);
        SLOT_HEADER + index / in_line * LINE + index % in_line * Self::step(size)
    }

    /// [`Slot::place`] of the message behind the one at `place`.
    #[inline(always)]
    pub(crate) const fn place_behind(size: usize, place: usize) -> usize {
        if Self::in_line(size) == 1 {
            return place + LINE;
        }
        let next = place + Self::step(size);
        let fits = next % LINE >= SLOT_HEADER && next % LINE + Self::step(size) <= LINE;
        if fits { next } else { place / LINE * LINE + LINE + SLOT_HEADER }
    }
}

/// Bytes from one message to the next within a block: a power of two up to 8, then whole words.
pub(crate) const fn stride(payload_size: usize) -> usize {
    if payload_size <= 8 { payload_size.next_power_of_two() } else { payload_size.next_multiple_of(8) }
}

/// How messages of one stride are grouped: `count` word, then `messages` payloads.
///
/// Up to 56 bytes a block is one cache line and carries as many messages as fit, so a hand-off moves one line. A larger
/// message is a block of its own, and blocks follow each other without padding, because at that size the lines moved
/// per message decide (docs/PROTOCOL.md has the race).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Bytes from one block to the next.
    pub(crate) size: usize,
    /// Messages in a block.
    pub(crate) messages: usize,
    /// Bytes from one message to the next.
    pub(crate) stride: usize,
}

/// Bytes of a block before its first message.
pub(crate) const COUNT: usize = 8;

impl Block {
    /// The block for a payload of `size` bytes.
    pub(crate) const fn of(size: usize) -> Self {
        let stride = stride(size);
        if stride <= LINE - COUNT {
            Self { size: LINE, messages: (LINE - COUNT) / stride, stride }
        } else {
            Self { size: COUNT + stride, messages: 1, stride }
        }
    }

    /// Offset in the region of the block that message `number` belongs to, whatever the number.
    pub(crate) fn offset(&self, number: u64, geometry: &Geometry) -> usize {
        let blocks = ((geometry.end - BLOCKS) / self.size) as u64;
        BLOCKS + (number / self.messages as u64 % blocks) as usize * self.size
    }
}

/// The extent of a ring, computed from numbers that were checked, never read from the region again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// The kind of ring.
    pub(crate) flavor: Flavor,
    /// Messages that fit; of a packed ring, slots. MPMC: a power of two.
    pub(crate) capacity: u64,
    /// Whether messages share slots: [`FLAG_PACKED`].
    pub(crate) packed: bool,
    /// Records in the peer table.
    pub(crate) peers: usize,
    /// Offset of the first block or slot.
    pub(crate) start: usize,
    /// Offset just behind the last block or slot.
    pub(crate) end: usize,
    /// Of the whole region in bytes, rounded to pages.
    pub(crate) region_length: usize,
}

impl Geometry {
    /// The same, in whole units, a power of two and at least a page; `None` if there are no such numbers.
    pub(crate) fn in_units(self, unit: usize) -> Option<Self> {
        let region_length =
            self.region_length.checked_next_multiple_of(unit).filter(|it| *it <= isize::MAX as usize)?;
        Some(Self { region_length, ..self })
    }

    /// Lays out at least `capacity` messages of `payload_size` bytes; `peers` and `packed` are for MPMC.
    pub(crate) fn new(
        flavor: Flavor,
        capacity: u64,
        payload_size: usize,
        peers: usize,
        packed: bool,
    ) -> Result<Self, Error> {
        let invalid = |reason| Error::InvalidCapacity { capacity, payload_size, reason };
        if capacity == 0 {
            return Err(invalid("a channel holds at least 1 message"));
        }
        // Sizes are rounded up by less than a page.
        let layout = if payload_size > isize::MAX as usize - PAGE {
            None
        } else {
            match flavor {
                Flavor::Spsc => Self::spsc(capacity, payload_size),
                Flavor::Mpmc => Self::mpmc(capacity, payload_size, peers, packed),
            }
        };
        layout.ok_or_else(|| invalid("the region would be larger than an address space"))
    }

    /// Message t lies in block `t / messages mod blocks`. It may be written once the ring holds fewer than `capacity`
    /// messages, that is when `t - head <= capacity - 1`; everything in its block's previous lap is then taken if
    /// `capacity - 1 <= (blocks - 1) * messages`, which fixes the number of blocks.
    fn spsc(capacity: u64, payload_size: usize) -> Option<Self> {
        let block = Block::of(payload_size);
        let blocks = (usize::try_from(capacity).ok()? - 1).div_ceil(block.messages).checked_add(1)?;
        let end = blocks.checked_mul(block.size)?.checked_add(BLOCKS)?;
        let region_length = Self::region_length(end)?;
        Some(Self {
            flavor: Flavor::Spsc,
            capacity,
            packed: false,
            peers: SPSC_PEERS,
            start: BLOCKS,
            end,
            region_length,
        })
    }

    /// Message t lies in slot `t mod capacity`, and the capacity is a power of two.
    fn mpmc(capacity: u64, payload_size: usize, peers: usize, packed: bool) -> Option<Self> {
        let capacity = capacity.checked_next_power_of_two()?.max(MPMC_CAPACITY_MIN);
        let slots = usize::try_from(capacity).ok()?;
        let start = MPMC_PEER_TABLE + peers * PEER_STRIDE;
        let end = slots.checked_mul(Slot::of(payload_size, packed).size)?.checked_add(start)?;
        let redeliveries = slots.checked_mul(8)?;
        let region_length = Self::region_length(end.checked_add(redeliveries)?)?;
        let packed = packed && Slot::packs(payload_size);
        Some(Self { flavor: Flavor::Mpmc, capacity, packed, peers, start, end, region_length })
    }

    /// What the header's `stride` must be for this payload.
    pub(crate) const fn stride(&self, payload_size: usize) -> usize {
        match self.flavor {
            Flavor::Spsc => stride(payload_size),
            Flavor::Mpmc => Slot::of(payload_size, self.packed).size,
        }
    }

    /// The guard line, then whole pages.
    fn region_length(end: usize) -> Option<usize> {
        (end <= isize::MAX as usize - 2 * PAGE).then(|| (end + PADDING).next_multiple_of(PAGE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spsc(capacity: u64, payload_size: usize) -> Result<Geometry, Error> {
        Geometry::new(Flavor::Spsc, capacity, payload_size, 0, false)
    }

    #[test]
    fn a_block_carries_what_fits_its_line() {
        for (size, messages, stride, block) in [
            (0, 56, 1, 64),
            (1, 56, 1, 64),
            (2, 28, 2, 64),
            (3, 14, 4, 64),
            (4, 14, 4, 64),
            (8, 7, 8, 64),
            (9, 3, 16, 64),
            (24, 2, 24, 64),
            (28, 1, 32, 64),
            (56, 1, 56, 64),
            (57, 1, 64, 72),
            (64, 1, 64, 72),
            (1024, 1, 1024, 1032),
        ] {
            assert_eq!(Block::of(size), Block { size: block, messages, stride }, "payload of {size} bytes");
        }
    }

    #[test]
    fn every_capacity_fits_with_the_overlap_of_one_block() {
        for size in [0, 1, 3, 8, 16, 24, 56, 57, 64, 200, 4096] {
            for capacity in (1..200).chain([1024, 65_536]) {
                let block = Block::of(size);
                let geometry = spsc(capacity, size).unwrap();
                let blocks = (geometry.end - BLOCKS) / block.size;
                assert!((blocks - 1) * block.messages >= capacity as usize - 1);
                assert!((blocks as u64) < capacity / block.messages as u64 + 3, "no more than a block to spare");
                assert_eq!(geometry.region_length % PAGE, 0);
                assert!(geometry.region_length >= geometry.end + PADDING);
            }
        }
    }

    #[test]
    fn impossible_capacities_are_refused() {
        for (capacity, size) in [(0, 8), (u64::MAX, 8), (u64::MAX, 0), (1 << 62, 64), (2, isize::MAX as usize)] {
            assert!(matches!(spsc(capacity, size), Err(Error::InvalidCapacity { .. })), "{capacity} x {size}");
        }
    }

    #[test]
    fn slots_are_whole_lines_and_a_power_of_two() {
        for (size, slot) in [(0, 64), (1, 64), (8, 64), (48, 64), (49, 128), (112, 128), (113, 192), (4096, 4160)] {
            assert_eq!(Slot::of(size, false), Slot { size: slot, messages: 1 }, "payload of {size} bytes");
        }
        for (wanted, capacity) in [(1, 2), (2, 2), (3, 4), (64, 64), (65, 128), (1000, 1024)] {
            let geometry = Geometry::new(Flavor::Mpmc, wanted, 48, 7, false).unwrap();
            assert_eq!(geometry.capacity, capacity);
            assert_eq!((geometry.start % LINE, geometry.end - geometry.start), (0, capacity as usize * 64));
            assert!(geometry.region_length >= geometry.end + 8 * capacity as usize + PADDING);
        }
        for (capacity, size) in [(0, 8), (u64::MAX, 8), (1 << 62, 64), (2, isize::MAX as usize)] {
            for packed in [false, true] {
                assert!(Geometry::new(Flavor::Mpmc, capacity, size, 4095, packed).is_err(), "{capacity} x {size}");
            }
        }
    }

    #[test]
    fn packed_slots_are_full_of_messages_that_do_not_overlap() {
        for (size, messages, length) in [
            (0, 48, 512),
            (1, 48, 512),
            (4, 48, 512),
            (8, 48, 512),
            (9, 48, 1024),
            (16, 48, 1024),
            (24, 32, 1024),
            (25, 16, 1024),
            (48, 16, 1024),
        ] {
            let slot = Slot::of(size, true);
            assert_eq!(slot, Slot { size: length, messages }, "payload of {size} bytes");
            let places: Vec<_> = (0..messages).map(|index| Slot::place(size, index)).collect();
            assert!(places.windows(2).all(|two| two[0] + size.max(1) <= two[1]));
            assert!(places.windows(2).all(|two| Slot::place_behind(size, two[0]) == two[1]));
            assert!(places.iter().all(|place| place % 8 == 0 && place % LINE >= SLOT_HEADER));
            assert!(places.iter().all(|place| place % LINE + size <= LINE));
            assert_eq!(places.last().unwrap() / LINE, length / LINE - 1);
        }
        for size in [49, 56, 64, 4096] {
            assert_eq!(Slot::of(size, true), Slot::of(size, false), "payload of {size} bytes");
            assert!(!Geometry::new(Flavor::Mpmc, 64, size, 7, true).unwrap().packed);
        }
        let (wide, narrow) = [true, false].map(|packed| Geometry::new(Flavor::Mpmc, 64, 8, 7, packed).unwrap()).into();
        assert_eq!((wide.end - wide.start, narrow.end - narrow.start), (64 * 512, 64 * 64));
    }
}
