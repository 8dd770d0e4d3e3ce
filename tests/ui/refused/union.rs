use ringway::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(Clone, Copy, FromBytes, Immutable, Payload)]
#[repr(C)]
union Number { //~ `Number` is a union
    whole: u64,
    broken: f64,
}

fn main() {}
