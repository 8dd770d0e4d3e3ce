use ringway::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Order { //~ 4 total byte(s) of padding
    price: u64,
    size: u32,
}

fn main() {}
