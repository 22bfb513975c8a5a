//! The files of a crate, and which of them import each other.
//!
//! A file imports another where a path of its code, outside of tests, leads to an item that the other file defines.
//! Re-exports are followed to the file that defines the item, and are themselves no import. So a `mod.rs` that only
//! declares and re-exports takes no part.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

use crate::source::{is_test_only, parse};

/// A module path from the crate's root; the root itself is empty.
type ModulePath = Vec<String>;

/// A re-export or import is followed at most this many times to the item that it names.
const MAX_ALIASES: usize = 16;

/// The modules of a crate.
pub struct Crate {
    modules: BTreeMap<ModulePath, Module>,
    files: Vec<PathBuf>,
}

/// A module in a file of its own, or inline in one.
struct Module {
    file: usize,
    /// Names that it imports or re-exports, with the paths that they stand for.
    aliases: BTreeMap<String, ModulePath>,
    /// Modules whose names it imports or re-exports all.
    globs: Vec<ModulePath>,
    /// Names that it defines.
    items: BTreeSet<String>,
    /// Paths that its code names.
    paths: Vec<ModulePath>,
}

/// Imports between files: indices of [`Crate::files`], importer first.
pub type Imports = BTreeSet<(usize, usize)>;

impl Crate {
    /// Reads the crate whose root is the file `root`.
    ///
    /// # Panics
    /// A file cannot be read or parsed.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let mut this = Self { modules: BTreeMap::new(), files: Vec::new() };
        let folder = root.parent().map(Path::to_owned).unwrap_or_default();
        this.read_file(root, &folder, Vec::new());
        this
    }

    /// Returns the files of the crate, its root first.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Returns which files import which.
    #[must_use]
    pub fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (own, module) in &self.modules {
            for path in &module.paths {
                if let Some(file) = self.resolve(own, path, MAX_ALIASES).filter(|file| *file != module.file) {
                    imports.insert((module.file, file));
                }
            }
        }
        imports
    }

    /// Reads `path`, the module `own`, whose child modules lie in `folder`.
    fn read_file(&mut self, path: &Path, folder: &Path, own: ModulePath) {
        let file = self.files.len();
        self.files.push(path.to_owned());
        let (parsed, _) = parse(path);
        self.read_items(&parsed.items, file, folder, own);
    }

    fn read_items(&mut self, items: &[syn::Item], file: usize, folder: &Path, own: ModulePath) {
        let mut names = Names::default();
        for item in items.iter().filter(|item| !is_test_only(attributes(item))) {
            names.visit_item(item);
            let syn::Item::Mod(child) = item else { continue };
            let name = child.ident.to_string();
            let path = [&own[..], std::slice::from_ref(&name)].concat();
            let inner = folder.join(&name);
            match &child.content {
                Some((_, items)) => self.read_items(items, file, &inner, path),
                None => {
                    let candidates = [folder.join(format!("{name}.rs")), inner.join("mod.rs")];
                    if let Some(found) = candidates.iter().find(|candidate| candidate.is_file()) {
                        self.read_file(found, &inner, path);
                    }
                }
            }
        }
        let Names { aliases, globs, items, paths } = names;
        self.modules.insert(own, Module { file, aliases, globs, items, paths });
    }

    /// Returns the file that defines the item to which `path` leads in the module `own`, if it is one of this crate.
    fn resolve(&self, own: &[String], path: &[String], aliases_left: usize) -> Option<usize> {
        let (mut at, mut rest) = self.start(own, path)?;
        while let Some((name, further)) = rest.split_first() {
            let module = self.modules.get(&at)?;
            let child = [&at[..], std::slice::from_ref(name)].concat();
            if self.modules.contains_key(&child) {
                (at, rest) = (child, further);
            } else if module.items.contains(name) || name == "*" {
                break;
            } else if let (Some(target), 1..) = (module.aliases.get(name), aliases_left) {
                let target = [&target[..], further].concat();
                return self.resolve(&at, &target, aliases_left - 1);
            } else {
                let through = |glob: &ModulePath| {
                    let target = [&glob[..], rest].concat();
                    self.resolve(&at, &target, aliases_left.checked_sub(1)?)
                };
                // An item that a macro defines is in no list: it counts as the module's own.
                return module.globs.iter().find_map(through).or(Some(module.file));
            }
        }
        self.modules.get(&at).map(|module| module.file)
    }

    /// Returns the module at which `path` begins, and what is left of it.
    fn start<'a>(&self, own: &[String], path: &'a [String]) -> Option<(ModulePath, &'a [String])> {
        let mut at = own.to_vec();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => (at, rest) = (Vec::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|name| name == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
            }
            first => {
                let child = [own, &[first.to_owned()]].concat();
                if !self.modules.contains_key(&child) {
                    return None;
                }
            }
        }
        Some((at, rest))
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        _ => &[],
    }
}

/// Collects the names that a module defines, and the paths that it names.
#[derive(Default)]
struct Names {
    aliases: BTreeMap<String, ModulePath>,
    globs: Vec<ModulePath>,
    items: BTreeSet<String>,
    paths: Vec<ModulePath>,
}

impl Names {
    /// Notes the leaves of a tree of imports; those of a re-export are no imports of this module's own code.
    fn note_use(&mut self, tree: &syn::UseTree, prefix: &[String], is_reexport: bool) {
        let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.note_use(&path.tree, &with(&path.ident), is_reexport),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.note_use(tree, prefix, is_reexport));
            }
            syn::UseTree::Glob(_) => {
                self.globs.push(prefix.to_vec());
                self.paths.extend((!is_reexport).then(|| [prefix, &["*".to_owned()]].concat()));
            }
            syn::UseTree::Name(name) if name.ident == "self" => {
                let alias = prefix.last().cloned().unwrap_or_default();
                self.note_leaf(alias, prefix.to_vec(), is_reexport);
            }
            syn::UseTree::Name(name) => self.note_leaf(name.ident.to_string(), with(&name.ident), is_reexport),
            syn::UseTree::Rename(name) => self.note_leaf(name.rename.to_string(), with(&name.ident), is_reexport),
        }
    }

    fn note_leaf(&mut self, name: String, path: ModulePath, is_reexport: bool) {
        self.paths.extend((!is_reexport).then(|| path.clone()));
        self.aliases.insert(name, path);
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let name = match item {
            syn::Item::Const(item) => Some(&item.ident),
            syn::Item::Enum(item) => Some(&item.ident),
            syn::Item::Fn(item) => Some(&item.sig.ident),
            syn::Item::Macro(item) => item.ident.as_ref(),
            syn::Item::Static(item) => Some(&item.ident),
            syn::Item::Struct(item) => Some(&item.ident),
            syn::Item::Trait(item) => Some(&item.ident),
            syn::Item::Type(item) => Some(&item.ident),
            syn::Item::Union(item) => Some(&item.ident),
            _ => None,
        };
        self.items.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {} // has its own names

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_use(&item.tree, &[], !matches!(item.vis, syn::Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {} // `pub(in crate::a)` imports nothing
}

/// Returns the groups of files that import each other, directly or through others of the group.
#[must_use]
pub fn circles(imports: &Imports) -> Vec<BTreeSet<usize>> {
    let reachable = |from: usize| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(file) = open.pop() {
            let next = imports.iter().filter(|(importer, _)| *importer == file).map(|(_, imported)| *imported);
            open.extend(next.filter(|file| seen.insert(*file)));
        }
        seen
    };
    let reach: BTreeMap<_, _> = imports.iter().map(|(file, _)| (*file, reachable(*file))).collect();
    let circle = |file: &usize| -> BTreeSet<usize> {
        let leads_back = |other: &usize| reach.get(other).is_some_and(|seen| seen.contains(file));
        reach[file].iter().copied().filter(leads_back).collect()
    };
    let found: BTreeSet<_> = reach.keys().map(circle).filter(|circle| circle.len() > 1).collect();
    found.into_iter().collect()
}
