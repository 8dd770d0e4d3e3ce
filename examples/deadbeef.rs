//! The child writes 0xdeadbeef into memory that it inherited, and the parent sees it; no sooner than it is there, and not
//! a moment later.

#![allow(unsafe_code)] // fork

use ringway::Options;
use ringway::spsc::Channel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = Channel::<u32>::create("anon:", &Options::new().capacity(1))?;

    // SAFETY: this process has one thread, so the child may go on with everything.
    match unsafe { libc::fork() } {
        -1 => return Err(std::io::Error::last_os_error().into()),
        0 => {
            channel.sender()?.send(0xdead_beef)?;
            println!("child: written");
        }
        _ => {
            let seen = channel.receiver()?.recv()?;
            println!("parent: {seen:#x}");
            assert_eq!(seen, 0xdead_beef);
        }
    }
    Ok(())
}
