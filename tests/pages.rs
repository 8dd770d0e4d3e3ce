//! What the pages say about files of this repository. Every link leads to one that is there, and a link whose text is
//! `code` to one with that in it: a test case that is said to show something exists. Every dependency has its reason.

use std::fs;
use std::path::Path;

/// The links of a page, as text and target, without those to other places than this repository.
fn links(page: &str) -> Vec<(&str, &str)> {
    let link = |(at, _)| {
        let (target, _) = page[at + 2..].split_once(')')?;
        let (_, text) = page[..at].rsplit_once('[')?;
        (!target.contains("://") && !target.starts_with('#')).then_some((text, target))
    };
    page.match_indices("](").filter_map(link).collect()
}

/// What is wrong with the links of a page that lies in `directory`.
fn wrong<'a>(page: &'a str, directory: &Path) -> Vec<(&'a str, &'a str)> {
    let leads = |&(text, target): &(&str, &str)| {
        let path = directory.join(target);
        match text.strip_prefix('`').and_then(|text| text.strip_suffix('`')) {
            Some(code) => fs::read_to_string(path).is_ok_and(|file| file.contains(code)),
            None => path.exists(),
        }
    };
    links(page).into_iter().filter(|link| !leads(link)).collect()
}

#[test]
fn every_link_leads_to_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).expect("a directory").map(|page| page.expect("a page").path());
    for path in docs.chain(["README.md", "CHANGELOG.md"].map(|name| root.join(name))) {
        let page = fs::read_to_string(&path).expect("a page");
        assert_eq!(wrong(&page, path.parent().expect("its directory")), [], "{}", path.display());
    }
    assert!(links(include_str!("../README.md")).len() > 40);
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page =
        "[a](tests/pages.rs) [`fn links`](tests/pages.rs) [b](tests/no.rs) [c](https://x) [`\u{2203}`](tests/pages.rs)";
    let wrong = wrong(page, Path::new(env!("CARGO_MANIFEST_DIR")));
    assert_eq!(wrong, [("b", "tests/no.rs"), ("`\u{2203}`", "tests/pages.rs")]);
}

/// The names in the tables of a manifest that list dependencies.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut listed = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            listed = line.trim_end_matches(']').ends_with("dependencies");
        } else if let (true, Some((name, _))) = (listed, line.split_once(" = ")) {
            names.push(name);
        }
    }
    names
}

#[test]
fn every_dependency_has_its_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
    let (reasons, peers) = (read("docs/ARCHITECTURE.md"), read("benches/peers/README.md"));
    let manifests =
        ["Cargo.toml", "crates/ringway-cli/Cargo.toml", "crates/ringway-derive/Cargo.toml", "fuzz/Cargo.toml"];
    for path in manifests.into_iter().chain(["benches/peers/Cargo.toml"]) {
        let manifest = read(path);
        let names = dependencies(&manifest);
        assert!(names.len() > 2, "{path}");
        for name in names {
            let has_a_row = reasons.contains(&format!("`{name}`"));
            // Written as in their own documentation: shaq 3.
            let is_a_peer = path.starts_with("benches") && peers.contains(name.trim_end_matches(char::is_numeric));
            assert!(name.starts_with("ringway") || has_a_row || is_a_peer, "why does {path} need {name}?");
        }
    }
}
