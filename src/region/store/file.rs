//! Files as stores: POSIX shared memory, files of any directory, and memfds. The leases are locks on the file itself.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::{Access, Attachment, Store};
use crate::error::{Error, Role};
use crate::layout;
use crate::lease;
use crate::memory::Memory;
use crate::region::header::Page;
use crate::sys::entry::Entry;
use crate::sys::map::Mapping;
use crate::sys::{disk, file, os};

/// A file, or a description of it.
#[derive(Debug)]
pub(crate) struct FileStore {
    file: File,
    entry: Option<Entry>,
}

impl FileStore {
    /// A named file with this header, all at once.
    pub(crate) fn create(entry: Entry, length: usize, mode: u32, page: &Page) -> Result<Self, Error> {
        let draft = entry.draft(length, mode)?;
        lease::announce_open(draft.file())?;
        write_header(draft.file(), page)?;
        let on_disk = !file::is_memory(draft.file())?;
        // The name must not come to the disk before what it leads to.
        if on_disk {
            disk::sync(draft.file())?;
        }
        let file = File::from(draft.publish()?);
        if on_disk {
            entry.sync()?;
        }
        Ok(Self { file, entry: Some(entry) })
    }

    /// A sealed file with this header, and without a name.
    pub(crate) fn create_anonymous(length: usize, page: &Page) -> Result<Self, Error> {
        let file = file::memfd(length)?;
        write_header(file.as_fd(), page)?;
        Ok(Self { file: file.into(), entry: None })
    }

    /// The file of that name.
    pub(crate) fn open(entry: Entry, access: Access) -> Result<Self, Error> {
        let file = match access {
            Access::Write => entry.open()?,
            Access::Read => entry.open_read_only()?,
        };
        Ok(Self { file: file.into(), entry: Some(entry) })
    }

    /// The file behind a descriptor.
    pub(crate) fn from_fd(fd: OwnedFd) -> Result<Self, Error> {
        let store = Self { file: fd.into(), entry: None };
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

    fn metadata(&self) -> Result<std::fs::Metadata, Error> {
        self.file.metadata().map_err(|source| Error::Os { call: "fstat", source })
    }
}

fn write(file: BorrowedFd<'_>, mut bytes: &[u8], offset: usize) -> Result<(), Error> {
    let mut offset = offset as u64;
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(written) => (bytes, offset) = (&bytes[written..], offset + written as u64),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(os("pwrite")(errno)),
        }
    }
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
    ) -> Result<Option<Attachment>, Error> {
        let fresh = file::reopen(self.file.as_fd(), self.label())?;
        let Some(index) = lease::acquire_one(fresh.as_fd(), indexes)? else { return Ok(None) };
        if let Some(role) = joins {
            lease::join(fresh.as_fd(), role)?;
        }
        let found = self.length()?;
        if found != length as u64 {
            let (name, expected) = (self.label().into(), length as u64);
            return Err(Error::Damaged { name, field: "the length of its file", expected, found });
        }
        let mapping = Mapping::new(fresh.as_fd(), length)?;
        // SAFETY: the mapping is page-aligned and as long as said; it lives in the same value as `memory`, and its bytes
        // are accessed through `Memory` only.
        #[allow(unsafe_code)]
        let memory = unsafe { Memory::mapped(mapping.base(), mapping.length()) };
        Ok(Some(Attachment { memory, index, _hold: Box::new(mapping) }))
    }

    fn access(&self) -> Result<(u32, u32), Error> {
        let metadata = self.metadata()?;
        Ok((metadata.uid(), metadata.mode() & 0o7777))
    }

    fn name(&self) -> Option<&str> {
        self.entry.as_ref().map(Entry::label)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn is_named(&self) -> Result<bool, Error> {
        self.entry.as_ref().map_or(Ok(false), |entry| entry.leads_to(self.file.as_fd()))
    }

    fn remove(&self) -> Result<bool, Error> {
        self.entry.as_ref().map_or(Ok(false), |entry| entry.unlink_if_same(self.file.as_fd()))
    }
}
