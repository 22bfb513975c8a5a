//! Source files of the workspace.

use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

/// Returns the root of the workspace.
#[must_use]
pub fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}

/// Returns the files under `folder` whose extension is `extension`, sorted, without build output and hidden folders.
///
/// # Panics
/// The folder cannot be read.
#[must_use]
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let is_source = |entry: &DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(entry.file_type().is_dir() && (name == "target" || name.starts_with('.')))
    };
    let walk = WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(is_source);
    let entries = walk.map(|entry| entry.unwrap_or_else(|error| panic!("cannot walk {}: {error}", folder.display())));
    entries.map(DirEntry::into_path).filter(|path| path.extension().is_some_and(|own| own == extension)).collect()
}

/// Parses the Rust file `path`, and returns it with its text.
///
/// # Panics
/// The file cannot be read or parsed.
#[must_use]
pub fn parse(path: &Path) -> (syn::File, String) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("cannot parse {}: {error}", path.display()));
    (file, text)
}

/// Returns `path` from the root of the workspace on.
#[must_use]
pub fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Returns `true` if one of `attributes` compiles its item for tests alone.
#[must_use]
pub fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            list.tokens.to_string().split(|c: char| !c.is_alphanumeric()).any(|word| word == "test")
        }
        _ => false,
    })
}
