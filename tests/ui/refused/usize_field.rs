use ringway::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Range {
    start: u64,
    length: usize, //~ `usize` cannot be sent to another process
}

fn main() {}
