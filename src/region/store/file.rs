//! Files as stores: POSIX shared memory, files of any directory, and memfds. The leases are locks on the file itself.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::{Access, Attachment, Hold, Plan, Store};
use crate::error::{Error, Role};
use crate::layout;
use crate::lease;
use crate::memory::Memory;
use crate::pages::{MemoryReport, Pages};
use crate::region::header::Page;
use crate::sync::Ordering;
use crate::sys::entry::Entry;
use crate::sys::map::{self, Mapping};
use crate::sys::process::{self, ForkMark};
use crate::sys::{disk, file, numa, os, smaps};

/// Bytes that are mapped to change the usage word: no region is smaller.
const MAPPED: usize = 2 * layout::PAGE;

/// A file, or a description of it.
#[derive(Debug)]
pub(crate) struct FileStore {
    file: File,
    entry: Option<Entry>,
    on_disk: bool,
}

/// A role in a file on a disk: after the last one, the file is clean.
///
/// # The usage word
///
/// It has to say *in use* on the disk before anything else that a role writes can come there, and *clean* only after
/// everything that roles wrote. So whoever takes a role (1) takes the lease, (2) writes this boot and the next generation
/// into the word, (3) waits until it is on the disk, and only then touches the ring. Whoever ends a role (a) reads the
/// word, (b) asks whether any lease is held, (c) if not, waits until the whole file is on the disk, and (d) replaces
/// exactly the word that it read by the clean one of that generation. Whoever did (1) before (b) is seen there; whoever
/// did it later does (2) after it, so that (d) fails, or (2) follows (d). Killed anywhere, the word says *in use*.
#[derive(Debug)]
struct Usage {
    /// `None` once it is being dropped.
    mapping: Option<Mapping>,
    store: Arc<FileStore>,
    mark: ForkMark,
}

impl Usage {
    fn begin(mapping: Mapping, store: &Arc<FileStore>) -> Result<Self, Error> {
        let usage = Self { mapping: Some(mapping), store: Arc::clone(store), mark: ForkMark::here()? };
        let mapping = usage.mapping.as_ref().expect("it was just put there");
        let boot = process::boot(layout::BOOT)?;
        // Relaxed, here and in `clean`: what counts is the order in which the disk sees it.
        let mark = |usage: u64| Some((usage | layout::BOOT).wrapping_add(1) | boot);
        let _ = memory(mapping).word(layout::USAGE).fetch_update(Ordering::Relaxed, Ordering::Relaxed, mark);
        mapping.sync(layout::PAGE)?;
        Ok(usage)
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        drop(self.mapping.take());
        if self.mark.is_ours() {
            // Nobody is left to tell; the file then stays marked as in use.
            let _ = self.store.clean();
        }
    }
}

/// The words of a mapping, to be used no longer than it.
pub(super) fn memory(mapping: &Mapping) -> Memory {
    // SAFETY: the mapping is page-aligned and as long as said, which is at least two pages of a region; whoever calls keeps
    // it beside what is returned; and its bytes are accessed through `Memory` only.
    #[allow(unsafe_code)]
    unsafe {
        Memory::mapped(mapping.base(), mapping.length())
    }
}

impl FileStore {
    /// A named file with this header, all at once.
    pub(crate) fn create(entry: Entry, plan: &Plan<'_>) -> Result<Self, Error> {
        let node = numa::prefer(plan.pages.node)?;
        let draft = entry.draft(plan.length, plan.mode, plan.group)?;
        drop(node);
        lease::announce_open(draft.file())?;
        begin(draft.file(), plan)?;
        let on_disk = !file::is_memory(draft.file())?;
        // The name must not come to the disk before what it leads to.
        if on_disk {
            disk::sync(draft.file())?;
        }
        let file = File::from(draft.publish()?);
        if on_disk {
            entry.sync()?;
        }
        Ok(Self { file, entry: Some(entry), on_disk })
    }

    /// A sealed file with this header, and without a name.
    pub(crate) fn create_anonymous(plan: &Plan<'_>) -> Result<Self, Error> {
        let node = numa::prefer(plan.pages.node)?;
        let file = file::memfd(plan.length, plan.pages)?;
        drop(node);
        begin(file.as_fd(), plan)?;
        Ok(Self { file: file.into(), entry: None, on_disk: false })
    }

    /// The file of that name.
    pub(crate) fn open(entry: Entry, access: Access) -> Result<Self, Error> {
        let file = match access {
            Access::Write => entry.open()?,
            Access::Read => entry.open_read_only()?,
        };
        Ok(Self { on_disk: !file::is_memory(&file)?, file: file.into(), entry: Some(entry) })
    }

    /// The file behind a descriptor.
    pub(crate) fn from_fd(fd: OwnedFd) -> Result<Self, Error> {
        let store = Self { on_disk: !file::is_memory(&fd)?, file: fd.into(), entry: None };
        file::check_regular(store.file.as_fd(), store.label())?;
        disk::check_local(&store.file, store.label())?;
        Ok(store)
    }

    /// Makes a file that belongs to somebody else's library all zero, up to `length`, and then a region.
    #[cfg(feature = "shared_memory")]
    pub(crate) fn overwrite(&self, length: usize, page: &Page) -> Result<(), Error> {
        file::fallocate(self.file.as_fd(), self.length()?)?;
        let zeroes = [0; layout::PAGE];
        (0..length).step_by(layout::PAGE).try_for_each(|offset| write(self.file.as_fd(), &zeroes, offset))?;
        write_header(self.file.as_fd(), page)
    }

    /// Marks a file on a disk as clean, if nobody holds a role; whether it is.
    fn clean(&self) -> Result<bool, Error> {
        let mut usage = [0];
        // A file that was truncated under us is nothing to be mapped.
        let whole = self.length()? >= MAPPED as u64 && self.read(&mut usage, layout::USAGE)?;
        if !whole || lease::is_any_held(self.file.as_fd()) {
            return Ok(false);
        }
        let [usage] = usage;
        disk::sync(self.file.as_fd())?;
        if usage & layout::BOOT == 0 {
            return Ok(true);
        }
        let mapping = Mapping::new(self.file.as_fd(), MAPPED, &Pages::USUAL)?;
        let (word, clean) = (memory(&mapping), usage & !layout::BOOT);
        let replaced =
            word.word(layout::USAGE).compare_exchange(usage, clean, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        mapping.sync(layout::PAGE)?;
        Ok(replaced)
    }

    fn metadata(&self) -> Result<std::fs::Metadata, Error> {
        self.file.metadata().map_err(|source| Error::Os { call: "fstat", source })
    }
}

fn write(file: BorrowedFd<'_>, mut bytes: &[u8], offset: usize) -> Result<(), Error> {
    let mut offset = offset as u64;
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(written) => (bytes, offset) = (&bytes[written..], offset + written as u64),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(os("pwrite")(errno)),
        }
    }
    Ok(())
}

/// Makes new memory a region, and its pages huge if they are to be.
fn begin(file: BorrowedFd<'_>, plan: &Plan<'_>) -> Result<(), Error> {
    if !plan.pages.are_huge() {
        return write_header(file, plan.page);
    }
    // Reserved huge pages cannot be written to in any other way. Nobody else has the file yet, so Relaxed will do.
    let mapping = Mapping::new(file, plan.length, &plan.pages.for_making())?;
    let memory = memory(&mapping);
    let store = |(index, word): (usize, &u64)| memory.word(8 * index).store(*word, Ordering::Relaxed);
    plan.page.iter().enumerate().for_each(store);
    Ok(())
}

/// Writes the header page, its magic last.
fn write_header(file: BorrowedFd<'_>, page: &Page) -> Result<(), Error> {
    let (magic, rest) = page.split_at(1);
    write(file, rest.as_bytes(), size_of_val(magic))?;
    write(file, magic.as_bytes(), 0)
}

impl Store for FileStore {
    fn length(&self) -> Result<u64, Error> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, words: &mut [u64], offset: usize) -> Result<bool, Error> {
        file::read_at(&self.file, words.as_mut_bytes(), offset as u64)
    }

    fn allocated(&self) -> Result<u64, Error> {
        Ok(self.metadata()?.blocks().saturating_mul(512))
    }

    fn data_from(&self, offset: usize) -> usize {
        match rustix::fs::seek(&self.file, SeekFrom::Data(offset as u64)) {
            Ok(data) => data as usize,
            Err(Errno::NXIO) => usize::MAX,
            // A file system that does not tell.
            Err(_) => offset,
        }
    }

    fn event(&self, role: Role) -> u32 {
        let mut event = [0; 4];
        let _ = file::read_at(&self.file, &mut event, layout::event_offset(role) as u64);
        u32::from_le_bytes(event)
    }

    fn locks(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn take(
        self: Arc<Self>,
        indexes: &mut dyn Iterator<Item = usize>,
        joins: Option<Role>,
        length: usize,
        pages: &Pages,
    ) -> Result<Option<Attachment>, Error> {
        let Some((fresh, index)) = lease::take(self.file.as_fd(), self.label(), indexes, joins)? else {
            return Ok(None);
        };
        let found = self.length()?;
        if found != length as u64 {
            let (name, expected) = (self.label().into(), length as u64);
            return Err(Error::Damaged { name, field: "the length of its file", expected, found });
        }
        let mapping = Mapping::new(fresh.as_fd(), length, pages)?;
        let memory = memory(&mapping);
        let hold: Box<dyn Hold> =
            if self.on_disk { Box::new(Usage::begin(mapping, &self)?) } else { Box::new(mapping) };
        Ok(Some(Attachment { memory, index, _hold: hold }))
    }

    fn report(&self) -> Result<MemoryReport, Error> {
        let mut report = Ok(None);
        map::probe(self.file.as_fd(), file::page_size(self.file.as_fd())?, &mut |place| report = smaps::report(place))?;
        report?.ok_or_else(file::no_proc)
    }

    fn access(&self) -> Result<(u32, u32), Error> {
        let metadata = self.metadata()?;
        Ok((metadata.uid(), metadata.mode() & 0o7777))
    }

    fn set_access(&self, owner: Option<u32>, group: Option<u32>, mode: Option<u32>) -> Result<(), Error> {
        file::set_access(self.file.as_fd(), self.label(), owner, group, mode)
    }

    fn name(&self) -> Option<&str> {
        self.entry.as_ref().map(Entry::label)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn is_sealed(&self) -> bool {
        file::is_sealed(self.file.as_fd())
    }

    fn is_on_disk(&self) -> bool {
        self.on_disk
    }

    fn sync(&self) -> Result<bool, Error> {
        if !self.on_disk {
            return Ok(false);
        }
        disk::sync(self.file.as_fd())?;
        self.clean()
    }

    fn is_named(&self) -> Result<bool, Error> {
        self.entry.as_ref().map_or(Ok(false), |entry| entry.leads_to(self.file.as_fd()))
    }

    fn remove(&self) -> Result<bool, Error> {
        self.entry.as_ref().map_or(Ok(false), |entry| entry.unlink_if_same(self.file.as_fd()))
    }
}
