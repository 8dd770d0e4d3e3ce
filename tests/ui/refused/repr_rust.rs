use ringway::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(FromBytes, IntoBytes, Immutable, Payload)]
struct Tick(u64); //~ the layout of `Tick` is left to the compiler, and two builds may differ: add `#[repr(C)]`

#[derive(FromBytes, IntoBytes, Immutable, Payload)]
#[repr(align(8))]
struct Aligned(u64); //~ the layout of `Aligned` is left to the compiler

fn main() {}
