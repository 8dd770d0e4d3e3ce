use ringway::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Price(u64);

#[derive(FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Tick {
    price: Price, //~ `Price` cannot be sent to another process
}

fn main() {}
