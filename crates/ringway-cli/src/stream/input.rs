//! Standard input, cut into frames.

use std::io::IoSliceMut;

use rustix::io::{read, readv, retry_on_intr};
use rustix::stdio::stdin;

use super::frame::{BATCH, DATA, Frame, Source};
use crate::failure::Failure;

/// Passes everything to `push`, each piece as soon as a read has returned it.
pub(super) fn forward_bytes(
    source: &mut Source,
    mut push: impl FnMut(&[Frame]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut frames = vec![Frame::EMPTY; BATCH];
    loop {
        let mut room: Vec<_> = frames.iter_mut().map(|frame| IoSliceMut::new(&mut frame.data)).collect();
        let len = retry_on_intr(|| readv(stdin(), &mut room)).map_err(unreadable)?;
        if len == 0 {
            return Ok(());
        }
        let filled = &mut frames[..len.div_ceil(DATA)];
        let mut rest = len;
        for frame in filled.iter_mut() {
            source.stamp(frame, rest.min(DATA));
            rest = rest.saturating_sub(DATA);
        }
        push(filled)?;
    }
}

/// Passes every line to `push` as soon as it is complete, in a frame of its own; one that is too long takes several.
pub(super) fn forward_lines(
    source: &mut Source,
    mut push: impl FnMut(&[Frame]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut frames = vec![Frame::EMPTY; BATCH];
    let mut text = vec![0; DATA * BATCH];
    let mut kept = 0;
    loop {
        let len = retry_on_intr(|| read(stdin(), &mut text[kept..])).map_err(unreadable)?;
        let mut rest = &text[..kept + len];
        loop {
            let mut count = 0;
            while let Some(cut) = cut(rest, len == 0).filter(|_| count < BATCH) {
                let piece;
                (piece, rest) = rest.split_at(cut);
                let filled = frames[count].fill(piece);
                source.stamp(&mut frames[count], filled);
                count += 1;
            }
            if count == 0 {
                break;
            }
            push(&frames[..count])?;
        }
        if len == 0 {
            return Ok(());
        }
        let start = kept + len - rest.len();
        text.copy_within(start..kept + len, 0);
        kept = kept + len - start;
    }
}

/// Length of the first piece of `text` that can go: a line, a full frame, or at the end of the input what is left.
fn cut(text: &[u8], at_end: bool) -> Option<usize> {
    let reach = &text[..text.len().min(DATA)];
    match memchr::memchr(b'\n', reach) {
        Some(newline) => Some(newline + 1),
        None if reach.len() == DATA => Some(DATA),
        None => Some(reach.len()).filter(|&len| at_end && len > 0),
    }
}

fn unreadable(error: rustix::io::Errno) -> Failure {
    Failure::io("cannot read the standard input", &error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(mut text: &[u8], at_end: bool) -> (Vec<usize>, usize) {
        let mut lengths = Vec::new();
        while let Some(len) = cut(text, at_end) {
            lengths.push(len);
            text = &text[len..];
        }
        (lengths, text.len())
    }

    #[test]
    fn lines_are_cut_after_their_newline() {
        assert_eq!(pieces(b"", false), (vec![], 0));
        assert_eq!(pieces(b"a\n\nbc\r\nd", false), (vec![2, 1, 4], 1));
        assert_eq!(pieces(b"a\n\nbc\r\nd", true), (vec![2, 1, 4, 1], 0));
        assert_eq!(pieces(b"a\n", true), (vec![2], 0));
    }

    #[test]
    fn a_line_longer_than_a_frame_takes_several() {
        let mut text = vec![b'x'; 2 * DATA + 5];
        assert_eq!(pieces(&text, false), (vec![DATA, DATA], 5));
        text.extend(b"\ny");
        assert_eq!(pieces(&text, false), (vec![DATA, DATA, 6], 1));
        let mut exact = vec![b'x'; DATA - 1];
        exact.push(b'\n');
        assert_eq!(pieces(&exact, false), (vec![DATA], 0));
    }
}
