//! Every link of the pages leads to a file that is there, and one whose text is `code` to a file with that in it: a test
//! case that is said to show something exists.

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
        "[a](tests/links.rs) [`fn links`](tests/links.rs) [b](tests/no.rs) [c](https://x) [`\u{2203}`](tests/links.rs)";
    let wrong = wrong(page, Path::new(env!("CARGO_MANIFEST_DIR")));
    assert_eq!(wrong, [("b", "tests/no.rs"), ("`\u{2203}`", "tests/links.rs")]);
}
