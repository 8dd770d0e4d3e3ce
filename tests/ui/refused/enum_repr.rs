use ringway::Payload;
use zerocopy::{Immutable, IntoBytes, TryFromBytes};

#[derive(TryFromBytes, Immutable, Payload)]
enum Unspecified { //~ `Unspecified` is not stored as an integer of fixed width: add `#[repr(u8)]`
    A,
    B,
}

#[derive(TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
enum OfTheTarget { //~ `OfTheTarget` is not stored as an integer of fixed width: add `#[repr(u8)]`
    A,
    B,
}

#[derive(TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(usize)]
enum OfThePointer { //~ `OfThePointer` is not stored as an integer of fixed width: add `#[repr(u8)]`
    A,
    B,
}

fn main() {}
