//! No two files of a crate import each other, directly or through others, without a written reason.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use portico_house::modules::{Crate, circles};
use portico_house::rooms;
use portico_house::source::{relative, root};

/// A line that begins so gives the reason why two files import each other.
const REASON: &str = "// circle: ";

/// Returns the roots of the crates in the folder of a package.
fn roots(package: &Path) -> Vec<PathBuf> {
    ["src/lib.rs", "src/main.rs"].iter().map(|file| package.join(file)).filter(|file| file.is_file()).collect()
}

/// Returns the circles of the crate at `root` as lines for a person, those with a written reason excluded.
fn unexplained(root: &Path) -> Vec<String> {
    let read = Crate::read(root);
    let imports = read.imports();
    let file = |index: &usize| &read.files()[*index];
    let has_reason = |circle: &BTreeSet<usize>| {
        circle.len() == 2
            && circle.iter().any(|index| {
                fs::read_to_string(file(index)).unwrap().lines().any(|line| line.trim_start().starts_with(REASON))
            })
    };
    let describe = |circle: &BTreeSet<usize>| {
        let arrows = imports.iter().filter(|(from, to)| circle.contains(from) && circle.contains(to));
        let arrows = arrows.map(|(from, to)| format!("  {} -> {}", relative(file(from)), relative(file(to))));
        arrows.collect::<Vec<_>>().join("\n")
    };
    circles(&imports).iter().filter(|circle| !has_reason(circle)).map(describe).collect()
}

#[test]
fn files_import_each_other_with_a_reason_only() {
    let packages = rooms::declared();
    let roots = packages.keys().flat_map(|folder| roots(&root().join(folder)));
    let found: Vec<_> = roots.flat_map(|root| unexplained(&root)).collect();
    assert!(
        found.is_empty(),
        "cannot accept {} circles of files: move what both need below them, or write `{REASON}<reason>`:\n{}",
        found.len(),
        found.join("\n\n")
    );
}

fn crate_of(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn circle_through_a_re_export_is_found() {
    let folder = crate_of(&[
        ("lib.rs", "mod a; mod b; pub use b::B;"),
        ("a.rs", "use crate::B; pub struct A(B);"),
        ("b.rs", "pub struct B; pub fn f() { super::a::g() }"),
    ]);
    assert_eq!(unexplained(&folder.path().join("lib.rs")).len(), 1);
}

#[test]
fn circle_with_a_reason_is_accepted() {
    let folder = crate_of(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "// circle: one thing in two files\nuse crate::b::B; pub struct A(B);"),
        ("b.rs", "use crate::a::A; pub struct B(A);"),
    ]);
    assert_eq!(unexplained(&folder.path().join("lib.rs")), Vec::<String>::new());
}

#[test]
fn parent_that_only_re_exports_is_no_circle() {
    let folder = crate_of(&[
        ("lib.rs", "mod a; mod b; pub use a::A; #[cfg(test)] mod tests { use super::b::B; }"),
        ("a.rs", "pub struct A;"),
        ("b.rs", "use super::A; pub struct B(A);"),
    ]);
    assert_eq!(unexplained(&folder.path().join("lib.rs")), Vec::<String>::new());
}
