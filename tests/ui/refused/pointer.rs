use ringway::Payload;
use zerocopy::{Immutable, IntoBytes, TryFromBytes};

#[derive(TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Buffer {
    start: *const u8, //~ `*const u8` cannot be sent to another process
    length: u64,
}

fn main() {}
