use ringway::Payload;
use zerocopy::{FromBytes, Immutable};

#[derive(FromBytes, Immutable, Payload)]
#[repr(C)]
struct Tick { //~ the trait bound `Tick: IntoBytes` is not satisfied
    price: u64,
}

fn main() {}
