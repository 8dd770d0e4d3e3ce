//! Tells the program which compiler builds it, for the header of the report.

use std::env;
use std::process::Command;

fn main() {
    let rustc = env::var_os("RUSTC").expect("cargo names the compiler");
    let version = Command::new(rustc).arg("-V").output().expect("the compiler runs");
    println!("cargo::rustc-env=PEERS_RUSTC={}", String::from_utf8_lossy(&version.stdout).trim());
    // The flags that decide whether two reports may be laid side by side.
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default().replace('\x1f', " ");
    println!("cargo::rustc-env=PEERS_RUSTFLAGS={flags}");
    println!("cargo::rerun-if-changed=build.rs");
}
