use ringway::Payload;
use zerocopy::{Immutable, IntoBytes, TryFromBytes};

#[derive(TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Greeting {
    text: String, //~ `String` cannot be sent to another process
}

fn main() {}
