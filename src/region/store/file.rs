//! Files as stores: POSIX shared memory and memfds. The leases are locks on the file itself.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::{Attachment, Store};
use crate::error::{Error, Role};
use crate::layout;
use crate::lease;
use crate::memory::Memory;
use crate::region::header::Page;
use crate::sys::file;
use crate::sys::map::Mapping;
use crate::sys::posix::{self, Name};

/// A file, or a description of it.
#[derive(Debug)]
pub(crate) struct FileStore {
    file: File,
    name: Option<Name>,
}

impl FileStore {
    /// A named file with this header, all at once.
    pub(crate) fn create(name: Name, length: usize, mode: u32, page: &Page) -> Result<Self, Error> {
        let file = File::from(posix::create_unnamed(&name, length, mode)?);
        lease::announce_open(file.as_fd())?;
        write_header(&file, page)?;
        posix::link(file.as_fd(), &name)?;
        Ok(Self { file, name: Some(name) })
    }

    /// A sealed file with this header, and without a name.
    pub(crate) fn create_anonymous(length: usize, page: &Page) -> Result<Self, Error> {
        let file = File::from(file::memfd(length)?);
        write_header(&file, page)?;
        Ok(Self { file, name: None })
    }

    /// The file of that name, for reading and writing.
    pub(crate) fn open(name: Name) -> Result<Self, Error> {
        Ok(Self { file: File::from(posix::open(&name)?), name: Some(name) })
    }

    /// The file of that name, for reading only.
    pub(crate) fn open_read_only(name: Name) -> Result<Self, Error> {
        Ok(Self { file: File::from(posix::open_read_only(&name)?), name: Some(name) })
    }

    /// The file behind a descriptor.
    pub(crate) fn from_fd(fd: OwnedFd) -> Result<Self, Error> {
        let store = Self { file: File::from(fd), name: None };
        file::check_regular(store.file.as_fd(), store.label())?;
        Ok(store)
    }

    /// Makes a file that belongs to somebody else's library all zero, up to `length`, and then a region.
    #[cfg(feature = "shared_memory")]
    pub(crate) fn overwrite(&self, length: usize, page: &Page) -> Result<(), Error> {
        file::fallocate(self.file.as_fd(), self.length()?)?;
        let zeroes = [0; layout::PAGE];
        (0..length).step_by(layout::PAGE).try_for_each(|offset| write(&self.file, &zeroes, offset))?;
        write_header(&self.file, page)
    }

    fn metadata(&self) -> Result<std::fs::Metadata, Error> {
        self.file.metadata().map_err(|source| Error::Os { call: "fstat", source })
    }
}

fn write(file: &File, bytes: &[u8], offset: usize) -> Result<(), Error> {
    file.write_all_at(bytes, offset as u64).map_err(|source| Error::Os { call: "pwrite", source })
}

/// Writes the header page, its magic last.
fn write_header(file: &File, page: &Page) -> Result<(), Error> {
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
        self.name.as_ref().map(Name::as_str)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn is_named(&self) -> Result<bool, Error> {
        self.name.as_ref().map_or(Ok(false), |name| posix::leads_to(name, self.file.as_fd()))
    }

    fn remove(&self) -> Result<bool, Error> {
        self.name.as_ref().map_or(Ok(false), |name| posix::unlink_if_same(self.file.as_fd(), name))
    }
}
