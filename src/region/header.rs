//! The header page: composed whole, and read into private memory where every number is checked.

use zerocopy::{FromBytes, IntoBytes};

use super::store::Store;
use crate::error::Error;
use crate::layout::{self, Flavor, Geometry, Header, PAGE};
use crate::payload::{Payload, Schema};
use crate::sys::process;
use crate::wait::Barrier;

/// What a program wants of a region: the kind of channel, and the type of its messages.
#[derive(Debug)]
pub(crate) struct Request {
    pub(super) flavor: Flavor,
    /// `size_of::<T>()`
    pub(super) payload_size: usize,
    payload_align: usize,
    schema: Schema,
}

impl Request {
    /// A channel of `T`.
    pub(crate) fn of<T: Payload>(flavor: Flavor) -> Self {
        let (payload_size, payload_align) = (size_of::<T>(), align_of::<T>());
        Self { flavor, payload_size, payload_align, schema: Schema::of::<T>() }
    }
}

/// What the creator decided for everybody, kept in the header's flags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    /// Who pays for the order between publishing and looking.
    pub(crate) barrier: Barrier,
    /// Whether the barrier is the dear one because the cheap one was refused.
    pub(crate) refused: bool,
    /// Whether the channel outlives the last peer of a role.
    pub(crate) stay_open: bool,
    /// Whether only the creator's process can write the blocks.
    pub(crate) one_way: bool,
}

impl Mode {
    fn flags(self) -> u64 {
        let flag = |set, flag| if set { flag } else { 0 };
        flag(self.barrier == Barrier::Membarrier, layout::FLAG_MEMBARRIER)
            | flag(self.refused, layout::FLAG_REFUSED)
            | flag(self.stay_open, layout::FLAG_STAY_OPEN)
            | flag(self.one_way, layout::FLAG_ONE_WAY)
    }

    /// The mode that these flags of a checked header stand for.
    pub(crate) fn of(flags: u64) -> Self {
        let is_set = |flag| flags & flag != 0;
        let barrier = if is_set(layout::FLAG_MEMBARRIER) { Barrier::Membarrier } else { Barrier::Fence };
        Self {
            barrier,
            refused: is_set(layout::FLAG_REFUSED),
            stay_open: is_set(layout::FLAG_STAY_OPEN),
            one_way: is_set(layout::FLAG_ONE_WAY),
        }
    }
}

/// All flags of a header.
const FLAGS: u64 = layout::FLAG_MEMBARRIER
    | layout::FLAG_REFUSED
    | layout::FLAG_STAY_OPEN
    | layout::FLAG_ONE_WAY
    | layout::FLAG_PACKED;

/// The header page, in words.
pub(crate) type Page = [u64; PAGE / 8];

/// The page of a new region. Whoever writes it writes its first word, the magic, last.
pub(super) fn compose(request: &Request, geometry: &Geometry, mode: Mode) -> Result<Page, Error> {
    let mut instance = [0; 8];
    rustix::rand::getrandom(&mut instance[..], rustix::rand::GetRandomFlags::empty())
        .map_err(crate::sys::os("getrandom"))?;
    let text = request.schema.text().as_bytes();
    let text = &text[..text.len().min(layout::SCHEMA_MAX)];
    let header = Header {
        magic: layout::MAGIC,
        version: layout::VERSION,
        flavor: request.flavor.code(),
        flags: mode.flags() | if geometry.packed { layout::FLAG_PACKED } else { 0 },
        capacity: geometry.capacity,
        payload_size: request.payload_size as u64,
        payload_align: request.payload_align as u64,
        stride: geometry.stride(request.payload_size) as u64,
        fingerprint: request.schema.fingerprint(),
        region_length: geometry.region_length as u64,
        instance: u64::from_le_bytes(instance),
        peers: geometry.peers as u64,
        schema_length: text.len() as u64,
        checksum: 0,
    };
    let mut page = [0; PAGE / 8];
    let bytes: &mut [u8; PAGE] = zerocopy::transmute_mut!(&mut page);
    bytes[layout::SCHEMA..][..text.len()].copy_from_slice(text);
    bytes[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    let header = Header { checksum: layout::checksum(bytes), ..header };
    bytes[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    Ok(page)
}

/// The header page as it was at one moment, and the schema text in it.
#[derive(Debug)]
pub(crate) struct HeaderPage {
    pub(crate) header: Header,
    pub(crate) schema: String,
    /// Whether the machine stopped while the region was in use.
    pub(crate) crashed: bool,
}

/// Reads the header into private memory and checks everything that does not depend on the payload type.
pub(crate) fn read_header(store: &dyn Store) -> Result<(HeaderPage, Geometry), Error> {
    let (length, name) = (store.length()?, store.label());
    let not_a_region = |found: String| Error::NotARegion { name: name.into(), found };
    if length == 0 {
        return Err(not_a_region("an empty file".into()));
    }
    let mut magic = [0];
    if !store.read(&mut magic, 0)? {
        return Err(not_a_region(format!("a file of {length} bytes")));
    }
    if magic != [layout::MAGIC] {
        let magic = magic[0].to_le_bytes();
        return Err(not_a_region(format!("a file that begins with {magic:02x?}")));
    }
    let damaged = |field, expected, found| Err(Error::Damaged { name: name.into(), field, expected, found });
    let mut words: Page = [0; PAGE / 8];
    if !store.read(&mut words, 0)? {
        return damaged("the length of its file", PAGE as u64, length);
    }
    let page: &[u8; PAGE] = zerocopy::transmute_ref!(&words);
    let (header, _) = Header::read_from_prefix(page).expect("a page is larger than a header");
    if header.version != layout::VERSION {
        return Err(Error::VersionMismatch { name: name.into(), expected: layout::VERSION, found: header.version });
    }
    let Some(flavor) = Flavor::of(header.flavor) else {
        return damaged("flavor", layout::FLAVOR_MPMC, header.flavor);
    };
    if header.flags & !FLAGS != 0 {
        return damaged("flags", header.flags & FLAGS, header.flags);
    }
    let contradiction = layout::FLAG_MEMBARRIER | layout::FLAG_REFUSED;
    if header.flags & contradiction == contradiction {
        return damaged("flags", header.flags & !layout::FLAG_REFUSED, header.flags);
    }
    let checksum = layout::checksum(page);
    match (Mode::of(header.flags).one_way, store.blocks().is_some()) {
        (false, false) => {}
        (true, true) if flavor == Flavor::Spsc => {}
        (true, false) if flavor == Flavor::Spsc && header.checksum == checksum => {
            return Err(Error::Unsupported {
                what: "one half of a one-way channel",
                advice: "it lies in two files: have both passed, by Channel::send_fd and receive_fd",
            });
        }
        _ => return damaged("flags", header.flags ^ layout::FLAG_ONE_WAY, header.flags),
    }
    if header.schema_length > layout::SCHEMA_MAX as u64 {
        return damaged("schema length", layout::SCHEMA_MAX as u64, header.schema_length);
    }
    let peers = match flavor {
        Flavor::Spsc => layout::SPSC_PEERS..=layout::SPSC_PEERS,
        Flavor::Mpmc => 2..=layout::MPMC_PEERS_MAX,
    };
    if !peers.contains(&(header.peers as usize)) {
        return damaged("number of peers", *peers.end() as u64, header.peers);
    }
    let (payload_size, packed) = (header.payload_size as usize, header.flags & layout::FLAG_PACKED != 0);
    let geometry = match Geometry::new(flavor, header.capacity, payload_size, header.peers as usize, packed) {
        Ok(geometry) if geometry.packed != packed => {
            return damaged("flags", header.flags & !layout::FLAG_PACKED, header.flags);
        }
        Ok(geometry) if geometry.capacity == header.capacity => geometry,
        Ok(geometry) => return damaged("capacity", geometry.capacity, header.capacity),
        Err(_) => return damaged("capacity", 1, header.capacity),
    };
    let stride = geometry.stride(payload_size) as u64;
    if header.stride != stride {
        return damaged("stride", stride, header.stride);
    }
    if header.region_length != length {
        return damaged("the length of its file", header.region_length, length);
    }
    // A region that was laid into somebody else's memory may end before the memory does.
    if (geometry.region_length as u64) > length {
        return damaged("region length", geometry.region_length as u64, length);
    }
    // Memory that is not there yet would be charged to us, on the word of whoever made the file so long. On a disk that
    // is no harm, and file systems that compress keep zeroes in no blocks at all.
    let allocated = store.allocated()?;
    if allocated < length && !store.is_on_disk() {
        return damaged("its allocated memory", length, allocated);
    }
    // Last, because those above say more.
    if header.checksum != checksum {
        return damaged("checksum of the header", checksum, header.checksum);
    }
    let usage = words[layout::USAGE / 8];
    if usage != 0 && !store.is_on_disk() {
        return damaged("usage", 0, usage);
    }
    let schema = &page[layout::SCHEMA..][..header.schema_length as usize];
    let schema = String::from_utf8_lossy(schema).into_owned();
    // A region that this boot has not seen yet is clean, or it was in use when the machine stopped.
    let crashed = usage & layout::BOOT != 0 && usage & layout::BOOT != process::boot(layout::BOOT)?;
    Ok((HeaderPage { header, schema, crashed }, Geometry { region_length: length as usize, ..geometry }))
}

/// Checks everything, including that the messages are the ones that this program means.
pub(super) fn check_header(store: &dyn Store, request: &Request) -> Result<(Geometry, Mode), Error> {
    let (HeaderPage { header, schema, crashed }, geometry) = read_header(store)?;
    let name = store.label();
    if geometry.flavor != request.flavor {
        let (expected, found) = (request.flavor.name(), geometry.flavor.name());
        return Err(Error::FlavorMismatch { name: name.into(), expected, found });
    }
    let expected = request.schema.text();
    let same_shape = header.payload_size == request.payload_size as u64
        && header.payload_align == request.payload_align as u64
        && header.fingerprint == request.schema.fingerprint();
    if !same_shape {
        let difference = Schema::difference(expected, &schema).unwrap_or_else(|| {
            format!(
                "expected {} bytes with fingerprint {:016x}, found {} bytes with fingerprint {:016x}",
                request.payload_size,
                request.schema.fingerprint(),
                header.payload_size,
                header.fingerprint
            )
        });
        let expected = expected.to_owned();
        return Err(Error::PayloadMismatch { name: name.into(), difference, expected, found: schema });
    }
    if crashed {
        return Err(Error::MachineCrashed { name: name.into() });
    }
    Ok((geometry, Mode::of(header.flags)))
}
