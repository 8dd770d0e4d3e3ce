use core::sync::atomic::AtomicU64;

use ringway::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Counter {
    count: AtomicU64, //~ `AtomicU64` cannot be sent to another process
}

fn main() {}
