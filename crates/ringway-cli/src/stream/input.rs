//! Standard input, cut into pieces, each of which fits what carries it.

use std::io::IoSliceMut;
use std::iter::repeat_n;

use rustix::io::{read, readv, retry_on_intr};
use rustix::stdio::stdin;

use super::frame::{BATCH, DATA};
use crate::failure::Failure;

/// What carries a piece of the input through the channel.
pub(super) trait Carrier: Copy {
    /// To be filled.
    const EMPTY: Self;

    /// Where the piece goes.
    fn room(&mut self) -> &mut [u8; DATA];
}

/// The front of a text: what is carried, and what goes with it uncarried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Bytes to carry, at most [`DATA`].
    pub(super) carried: usize,
    /// Bytes behind them that are dropped.
    pub(super) dropped: usize,
}

/// Passes everything to `push`, each piece as soon as a read has returned it, after `stamp` was told its length.
pub(super) fn forward_bytes<C: Carrier>(
    mut stamp: impl FnMut(&mut C, usize),
    mut push: impl FnMut(&[C]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut carriers: Vec<_> = repeat_n(C::EMPTY, BATCH).collect();
    loop {
        let mut room: Vec<_> = carriers.iter_mut().map(|carrier| IoSliceMut::new(carrier.room())).collect();
        let len = retry_on_intr(|| readv(stdin(), &mut room)).map_err(unreadable)?;
        if len == 0 {
            return Ok(());
        }
        let filled = &mut carriers[..len.div_ceil(DATA)];
        let mut rest = len;
        for carrier in filled.iter_mut() {
            stamp(carrier, rest.min(DATA));
            rest = rest.saturating_sub(DATA);
        }
        push(filled)?;
    }
}

/// Passes to `push` what `cut` makes of the input, each piece as soon as there is one.
///
/// `cut` sees what has been read and not been cut yet, and whether that is all there will be.
pub(super) fn forward_pieces<C: Carrier>(
    mut cut: impl FnMut(&[u8], bool) -> Result<Option<Cut>, Failure>,
    mut stamp: impl FnMut(&mut C, usize),
    mut push: impl FnMut(&[C]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut carriers: Vec<_> = repeat_n(C::EMPTY, BATCH).collect();
    let mut text = vec![0; DATA * BATCH];
    let mut kept = 0;
    loop {
        let len = retry_on_intr(|| read(stdin(), &mut text[kept..])).map_err(unreadable)?;
        let mut rest = &text[..kept + len];
        loop {
            let (mut count, mut outcome) = (0, Ok(()));
            while count < BATCH {
                match cut(rest, len == 0) {
                    Ok(Some(Cut { carried, dropped })) => {
                        carriers[count].room()[..carried].copy_from_slice(&rest[..carried]);
                        stamp(&mut carriers[count], carried);
                        rest = &rest[carried + dropped..];
                        count += 1;
                    }
                    Ok(None) => break,
                    Err(failure) => {
                        outcome = Err(failure);
                        break;
                    }
                }
            }
            if count > 0 {
                push(&carriers[..count])?;
            }
            outcome?;
            if count < BATCH {
                break;
            }
        }
        if len == 0 {
            return Ok(());
        }
        let start = kept + len - rest.len();
        text.copy_within(start..kept + len, 0);
        kept = kept + len - start;
    }
}

/// Cuts behind every newline; a line that is too long takes several pieces.
pub(super) fn cut_stream(text: &[u8], at_end: bool) -> Option<Cut> {
    let reach = &text[..text.len().min(DATA)];
    let carried = match memchr::memchr(b'\n', reach) {
        Some(newline) => newline + 1,
        None if reach.len() == DATA => DATA,
        None if at_end && !reach.is_empty() => reach.len(),
        None => return None,
    };
    Some(Cut { carried, dropped: 0 })
}

/// Cuts out every line, without its newline; `Err` for one that is too long.
pub(super) fn cut_line(text: &[u8], at_end: bool) -> Result<Option<Cut>, ()> {
    match memchr::memchr(b'\n', &text[..text.len().min(DATA + 1)]) {
        Some(carried) => Ok(Some(Cut { carried, dropped: 1 })),
        None if text.len() > DATA => Err(()),
        None if at_end && !text.is_empty() => Ok(Some(Cut { carried: text.len(), dropped: 0 })),
        None => Ok(None),
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
        while let Some(Cut { carried, .. }) = cut_stream(text, at_end) {
            lengths.push(carried);
            text = &text[carried..];
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

    #[test]
    fn a_line_is_cut_out_of_its_newline() {
        let cut = |carried, dropped| Ok(Some(Cut { carried, dropped }));
        assert_eq!(cut_line(b"", false), Ok(None));
        assert_eq!(cut_line(b"", true), Ok(None));
        assert_eq!(cut_line(b"\nx", false), cut(0, 1));
        assert_eq!(cut_line(b"ab\r\n", false), cut(3, 1));
        assert_eq!(cut_line(b"ab", false), Ok(None));
        assert_eq!(cut_line(b"ab", true), cut(2, 0));
    }

    #[test]
    fn a_line_longer_than_a_message_is_refused_as_soon_as_that_is_certain() {
        let mut text = vec![b'x'; DATA];
        assert_eq!(cut_line(&text, false), Ok(None));
        assert_eq!(cut_line(&text, true), Ok(Some(Cut { carried: DATA, dropped: 0 })));
        text.push(b'\n');
        assert_eq!(cut_line(&text, false), Ok(Some(Cut { carried: DATA, dropped: 1 })));
        text[DATA] = b'x';
        assert_eq!(cut_line(&text, false), Err(()));
    }
}
