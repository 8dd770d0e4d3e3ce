//! Where everything lies in a region: the normative offsets, and the arithmetic that turns a header into a geometry.
//!
//! Every field is a little-endian integer of fixed width. Nothing here touches memory.
//!
//! ```text
//!      0  header page   magic | version | flavor | flags | capacity | payload size | payload alignment | stride
//!                       fingerprint | region length | instance | peers | schema length | checksum
//!    128                schema text, up to the end of the page
//!   4096  peer table    one 128-byte record a peer index
//!  +256   lines         tail | head | receiver's event word | sender's event word, 128 bytes apart
//!  +512   blocks        the ring's messages
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
pub(crate) const VERSION: u64 = 1;
/// A single producer and a single consumer.
pub(crate) const FLAVOR_SPSC: u64 = 1;
/// Flag: a waiter issues `membarrier`, so a waker needs no fence. Clear: both sides fence.
pub(crate) const FLAG_MEMBARRIER: u64 = 1;

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
    /// [`FLAVOR_SPSC`]
    pub(crate) flavor: u64,
    /// [`FLAG_MEMBARRIER`]
    pub(crate) flags: u64,
    /// Messages that fit; at least 1.
    pub(crate) capacity: u64,
    /// `size_of::<T>()`
    pub(crate) payload_size: u64,
    /// `align_of::<T>()`
    pub(crate) payload_align: u64,
    /// Bytes from one message of a block to the next, as [`stride`] computes it.
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

/// FNV-1a of the header page, with the magic (which is stored last) and its own eight bytes taken as zero.
pub(crate) fn checksum(page: &[u8; PAGE]) -> u64 {
    let (magic, own) = (0..8, CHECKSUM..CHECKSUM + 8);
    page.iter().enumerate().fold(0xcbf2_9ce4_8422_2325, |hash: u64, (offset, byte)| {
        let byte = if magic.contains(&offset) || own.contains(&offset) { 0 } else { *byte };
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Offset of the schema text.
pub(crate) const SCHEMA: usize = 128;
/// Longer schemas are cut here; the fingerprint still covers all of them.
pub(crate) const SCHEMA_MAX: usize = PAGE - SCHEMA;
/// Offset of the peer table.
pub(crate) const PEERS: usize = PAGE;
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
}

/// Distance between two peer records.
pub(crate) const PEER_STRIDE: usize = PADDING;
const_assert!(size_of::<PeerRecord>() <= PEER_STRIDE);
const_assert!(memoffset::offset_of!(PeerRecord, pid_namespace) == 24);

/// Offset of the shared words, which follow the peer table.
pub(crate) const LINES: usize = PEERS + SPSC_PEERS * PEER_STRIDE;
/// Producers' position: a hint, stored whenever the producer leaves a block.
pub(crate) const TAIL: usize = LINES;
/// Consumers' position: exact, stored with every take.
pub(crate) const HEAD: usize = LINES + PADDING;
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

/// Offset of the first block.
pub(crate) const BLOCKS: usize = LINES + 4 * PADDING;
const_assert!(BLOCKS % PADDING == 0);

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
    /// Messages that fit.
    pub(crate) capacity: u64,
    /// Offset just behind the last block.
    pub(crate) end: usize,
    /// Of the whole region in bytes, rounded to pages.
    pub(crate) region_length: usize,
}

impl Geometry {
    /// Lays out `capacity` messages of `payload_size` bytes.
    ///
    /// Message t lies in block `t / messages mod blocks`. It may be written once the ring holds fewer than `capacity`
    /// messages, that is when `t - head <= capacity - 1`; everything in its block's previous lap is then taken if
    /// `capacity - 1 <= (blocks - 1) * messages`, which fixes the number of blocks.
    pub(crate) fn new(capacity: u64, payload_size: usize) -> Result<Self, Error> {
        let invalid = |reason| Error::InvalidCapacity { capacity, payload_size, reason };
        if capacity == 0 {
            return Err(invalid("a channel holds at least 1 message"));
        }
        let too_large = || invalid("the region would be larger than an address space");
        // `Block::of` rounds up by less than a page.
        if payload_size > isize::MAX as usize - PAGE {
            return Err(too_large());
        }
        let block = Block::of(payload_size);
        let capacity_usize = usize::try_from(capacity).map_err(|_| too_large())?;
        let end = (capacity_usize - 1)
            .div_ceil(block.messages)
            .checked_add(1)
            .and_then(|blocks| blocks.checked_mul(block.size))
            .and_then(|bytes| bytes.checked_add(BLOCKS))
            .filter(|end| *end <= isize::MAX as usize - 2 * PAGE)
            .ok_or_else(too_large)?;
        let region_length = (end + PADDING).next_multiple_of(PAGE);
        Ok(Self { capacity, end, region_length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                let geometry = Geometry::new(capacity, size).unwrap();
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
            assert!(matches!(Geometry::new(capacity, size), Err(Error::InvalidCapacity { .. })), "{capacity} x {size}");
        }
    }
}
