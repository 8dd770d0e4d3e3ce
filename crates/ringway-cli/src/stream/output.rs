//! Standard output, written without a buffer in between or by whole lines.

use std::io::{self, IoSlice};

use rustix::io::{Errno, writev};
use rustix::stdio::stdout;

use super::LINE_LIMIT;
use crate::failure::{Failure, Kind};

/// Where the stream goes.
#[derive(Debug)]
pub(super) struct Output {
    /// The beginning of a line that is not complete, if lines are to be kept whole.
    line: Option<Vec<u8>>,
    written: u64,
    /// What to do if nothing can be written any more.
    advice: &'static str,
}

impl Output {
    /// With `lines`, bytes are held back until their line is complete.
    pub(super) fn new(lines: bool, advice: &'static str) -> Self {
        Self { line: lines.then(Vec::new), written: 0, advice }
    }

    /// Writes what `pieces` bring, or as much as makes whole lines; returns once the kernel has it.
    pub(super) fn write(&mut self, pieces: &[&[u8]]) -> Result<(), Failure> {
        let Some(line) = &mut self.line else {
            return self.write_all(pieces);
        };
        let held = line.len();
        pieces.iter().for_each(|piece| line.extend_from_slice(piece));
        let whole = match memchr::memrchr(b'\n', &line[held..]) {
            Some(newline) => held + newline + 1,
            None if line.len() >= LINE_LIMIT => line.len(),
            None => return Ok(()),
        };
        let rest = line.split_off(whole);
        let whole = std::mem::replace(line, rest);
        self.write_all(&[&whole])
    }

    /// The stream is complete: writes what is left of it.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        let rest = self.line.take().unwrap_or_default();
        self.write_all(&[&rest])
    }

    /// How far the output has come, in words.
    pub(super) fn progress(&self) -> String {
        let held = self.line.as_ref().map_or(0, Vec::len);
        let held =
            if held > 0 { format!(" ({held} bytes of an unfinished line were left out)") } else { String::new() };
        format!("{} bytes were written{held}", self.written)
    }

    fn write_all(&mut self, pieces: &[&[u8]]) -> Result<(), Failure> {
        let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = slices.as_mut_slice();
        // Pieces without any bytes go first: a write of nothing would look like a failed one.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match writev(stdout(), rest) {
                Ok(0) => return Err(self.unwritable(&io::ErrorKind::WriteZero.into())),
                Ok(len) => {
                    self.written += len as u64;
                    IoSlice::advance_slices(&mut rest, len);
                }
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) => return Err(Failure::new(Kind::OutputClosed, "nobody reads the standard output")),
                Err(error) => return Err(self.unwritable(&error.into())),
            }
        }
        Ok(())
    }

    fn unwritable(&self, error: &io::Error) -> Failure {
        let progress = self.progress();
        Failure::io("cannot write the standard output", error).next(format_args!("{progress}; {}", self.advice))
    }
}
