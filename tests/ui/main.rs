//! Every program in `refused/` must fail to compile, for the reasons written in it.
//!
//! A line that ends in `//~ TEXT` must be the place of an error whose message contains TEXT. Other errors may stand
//! beside it: what `zerocopy` and the compiler say is theirs to change, so no output is compared as a whole.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt::Write as _, fs};

/// One line of a program, and a part of the message that is expected there.
struct Expected {
    file: PathBuf,
    line: usize,
    text: String,
}

#[test]
fn every_program_is_refused_for_its_reason() {
    let programs = programs(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui/refused"));
    let package = package(&programs);
    let output = Command::new(env!("CARGO"))
        // Not `check`, which never evaluates the constants of a generic type.
        .args(["build", "--bins", "--keep-going", "--offline", "--message-format", "short"])
        .arg("--manifest-path")
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(package.join("target"))
        .output()
        .expect("cargo runs");
    let output = String::from_utf8(output.stderr).expect("cargo writes UTF-8");

    for program in &programs {
        let expected = expectations(program);
        assert!(!expected.is_empty(), "{} says nothing of why it is refused", program.display());
        for Expected { file, line, text } in expected {
            let place = format!("{}:{line}:", file.display());
            assert!(
                output.lines().any(|line| {
                    line.split_once(": error")
                        .is_some_and(|(at, message)| at.contains(&place) && message.contains(&text))
                }),
                "no error at {place} says `{text}`:\n{output}"
            );
        }
    }
}

/// The programs in `directory`.
fn programs(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the directory is there");
    let programs: Vec<_> = entries.map(|entry| entry.expect("it is readable").path()).collect();
    assert!(!programs.is_empty());
    programs
}

/// What a program says of why it is refused.
fn expectations(program: &Path) -> Vec<Expected> {
    let source = fs::read_to_string(program).expect("a program is readable");
    let annotated =
        source.lines().enumerate().filter_map(|(index, line)| Some((index + 1, line.split_once("//~ ")?.1)));
    annotated.map(|(line, text)| Expected { file: program.to_owned(), line, text: text.to_owned() }).collect()
}

/// Writes a package of which each program is a binary, and returns its directory.
fn package(programs: &[PathBuf]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refused");
    let mut manifest = format!(
        "[package]\nname = \"refused\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         ringway = {{ path = {root:?} }}\nzerocopy = {{ version = \"0.8\", features = [\"derive\"] }}\n",
    );
    for program in programs {
        let name = program.file_stem().expect("a program has a name");
        writeln!(manifest, "\n[[bin]]\nname = {name:?}\npath = {program:?}").expect("a String takes all");
    }
    fs::create_dir_all(&package).expect("the directory for temporary files is writable");
    fs::write(package.join("Cargo.toml"), manifest).expect("as above");
    // The versions that this test itself was built with, which are here without asking a registry.
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).expect("as above");
    package
}
