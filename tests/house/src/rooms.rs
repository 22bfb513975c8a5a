//! The rooms: packages of the workspace, and which of them may know which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use syn::visit::{self, Visit};

use crate::source::{self, files, parse};

/// Packages that a package knows, by their folders.
pub type Arrows = BTreeSet<String>;

/// A package and the packages of the workspace that it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Packages that its code knows.
    pub code: Arrows,
    /// Packages that its tests know besides.
    pub tests: Arrows,
}

/// Rooms by the folder of their package.
pub type Rooms = BTreeMap<String, Room>;

/// Returns the rooms and arrows that the manifests declare.
///
/// # Panics
/// Cargo cannot describe the workspace.
#[must_use]
pub fn declared() -> Rooms {
    let packages = packages();
    let folders: BTreeMap<_, _> = packages.iter().map(|package| (package.name.to_string(), folder(package))).collect();
    let arrows = |package: &Package, kind: DependencyKind| -> Arrows {
        let dependencies = package.dependencies.iter().filter(|dependency| dependency.kind == kind);
        dependencies.filter_map(|dependency| folders.get(&dependency.name).cloned()).collect()
    };
    let room = |package: &Package| Room {
        code: arrows(package, DependencyKind::Normal),
        tests: arrows(package, DependencyKind::Development),
    };
    packages.iter().map(|package| (folder(package), room(package))).collect()
}

/// Returns the rooms with the arrows that stand in the code of their `src` folders, tests excluded.
///
/// # Panics
/// A source file cannot be read or parsed.
#[must_use]
pub fn used() -> BTreeMap<String, Arrows> {
    let (packages, declared) = (packages(), declared());
    let crates: BTreeMap<_, _> = packages.iter().map(|package| (library(package), folder(package))).collect();
    let arrows = |package: &Package| {
        let own = folder(package);
        let mut roots = Roots { crates: &crates, found: Arrows::new() };
        let folder = source::root().join(&own).join("src");
        for path in files(&folder, "rs") {
            let inner = path.strip_prefix(&folder).unwrap_or(&path);
            let is_test = inner.components().any(|part| part.as_os_str() == "tests")
                || inner.file_name().is_some_and(|name| name.to_string_lossy().ends_with("tests.rs"));
            if !is_test {
                roots.visit_file(&parse(&path).0);
            }
        }
        // A module may have the name of a package that this one does not depend on.
        let room = &declared[&own];
        roots.found.retain(|name| room.code.contains(name) || room.tests.contains(name));
        roots.found
    };
    packages.iter().map(|package| (folder(package), arrows(package))).collect()
}

/// Reads the table of rooms out of the Markdown text `document`.
///
/// A row has four cells: folders of packages, a description, the packages that their code knows, and the packages that
/// their tests know besides. Folders stand in backticks. In the last two cells an asterisk stands for each package.
///
/// # Panics
/// The table is missing, or a row has another number of cells.
#[must_use]
pub fn documented(document: &str) -> Rooms {
    let mut rooms = Rooms::new();
    let rows = document.lines().skip_while(|line| !line.starts_with("| room |")).skip(2);
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.trim_matches('|').split('|').collect();
        let [names, _, code, tests] = cells[..] else { panic!("cannot read this row, it needs four cells: {row}") };
        for name in quoted(names) {
            rooms.insert(name, Room { code: quoted(code), tests: quoted(tests) });
        }
    }
    assert!(!rooms.is_empty(), "cannot find the table of rooms, which begins with `| room |`");
    rooms
}

/// Returns the words of `cell` that stand in backticks, without a slash at their end.
fn quoted(cell: &str) -> Arrows {
    cell.split('`').skip(1).step_by(2).map(|name| name.trim_end_matches('/').to_owned()).collect()
}

fn packages() -> Vec<Package> {
    let manifest = source::root().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec();
    metadata.unwrap_or_else(|error| panic!("cannot describe the workspace: {error}")).packages
}

fn folder(package: &Package) -> String {
    let folder = package.manifest_path.parent().map(|path| Path::new(path.as_str()));
    folder
        .and_then(|path| path.strip_prefix(source::root()).ok())
        .map(|path| path.display().to_string())
        .unwrap_or_default()
}

fn library(package: &Package) -> String {
    let library = package.targets.iter().find(|target| target.is_lib() || target.is_cdylib());
    library.map_or_else(|| package.name.replace('-', "_"), |target| target.name.replace('-', "_"))
}

/// Collects the packages of the workspace with which a path begins.
struct Roots<'a> {
    crates: &'a BTreeMap<String, String>,
    found: Arrows,
}

impl Roots<'_> {
    fn note(&mut self, root: &syn::Ident) {
        self.found.extend(self.crates.get(&root.to_string()).cloned());
    }
}

impl<'ast> Visit<'ast> for Roots<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !source::is_test_only(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_use_tree(&mut self, tree: &'ast syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => self.note(&path.ident),
            syn::UseTree::Name(name) => self.note(&name.ident),
            syn::UseTree::Rename(rename) => self.note(&rename.ident),
            syn::UseTree::Group(_) => visit::visit_use_tree(self, tree),
            syn::UseTree::Glob(_) => {}
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let (Some(first), true) = (path.segments.first(), path.segments.len() > 1) {
            self.note(&first.ident);
        }
        visit::visit_path(self, path);
    }
}

/// Returns the differences between `left` and `right` as lines for a person, with the names of both.
#[must_use]
pub fn differences(what: &str, left: (&str, &Arrows), right: (&str, &Arrows)) -> Vec<String> {
    let missing = |from: (&str, &Arrows), of: (&str, &Arrows)| -> Vec<String> {
        from.1.difference(of.1).map(|arrow| format!("{what} -> {arrow}: in {}, not in {}", from.0, of.0)).collect()
    };
    [missing(left, right), missing(right, left)].concat()
}
