use ringway::Payload;
use zerocopy::{Immutable, IntoBytes, TryFromBytes};

#[derive(TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Greeting {
    text: &'static str, //~ `&'static str` cannot be sent to another process
}

fn main() {}
