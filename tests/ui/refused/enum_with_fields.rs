use ringway::Payload;
use zerocopy::{Immutable, IntoBytes, TryFromBytes};

#[derive(TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(u8)]
enum Order {
    Limit(u8), //~ variant `Limit` of `Order` has fields
    Stop { at: u8 },
}

fn main() {}
