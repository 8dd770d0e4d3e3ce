//! `ringway send --mpmc` and `ringway recv --mpmc`: messages from any number of senders, each to one of the receivers.
//!
//! Nothing here makes the inputs of several senders one stream again: a message stands for itself, and its sender's
//! earlier messages precede it. A sender announces itself by a message of its own, so that it knows when a receiver has
//! come. There is no message for the end: the channel knows who is attached.

mod message;
mod recv;
mod send;

use std::time::Duration;

pub(super) use self::message::Message;
pub(super) use self::recv::recv;
pub(super) use self::send::send;

/// Who waits for something that others may undo before it is seen looks around after this time.
const SLICE: Duration = Duration::from_millis(100);
