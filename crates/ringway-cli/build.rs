//! Tells the benchmark which commit and compiler its figures belong to.

use std::path::Path;
use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let compiler = output(&rustc, &["--version"]).unwrap_or_else(|| "rustc unknown".into());
    // Without a repository around it (an unpacked package), the version number has to do.
    let commit = output("git", &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]);
    println!("cargo::rustc-env=RINGWAY_RUSTC={compiler}");
    println!("cargo::rustc-env=RINGWAY_COMMIT={}", commit.as_deref().unwrap_or("no commit"));

    // The state of the sources that go into the program, and the commit that they are compared with.
    println!("cargo::rerun-if-changed=../../src");
    println!("cargo::rerun-if-changed=src");
    // The log moves with every commit; a path that does not exist would make every build a fresh one.
    let log = output("git", &["rev-parse", "--git-path", "logs/HEAD"]);
    if let Some(log) = log.filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).env("GIT_OPTIONAL_LOCKS", "0").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| output.status.success() && !text.is_empty())
}
