//! The images that a machine is given.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use partition_table::ImageName;

use super::workspace::{self, IMAGES};
use portico_qemu::config::{Config, Image};

/// The images that `config` names, and where they are. Where partitions may be added later, all that are built from the
/// sources are among them.
///
/// # Errors
/// There is none of a name, or two files would have the same one.
pub(crate) fn of(config: &Config) -> Result<Vec<(ImageName, PathBuf)>> {
    let mut images = BTreeMap::new();
    for Image { name, file } in config.partitions.iter().filter_map(|partition| partition.image.as_ref()) {
        let file = match file {
            Some(file) => file.clone(),
            None => workspace::image(name.text())?,
        };
        ensure!(file.is_file(), "there is no image {}", file.display());
        let other = images.insert(name.text(), (*name, file.clone())).map(|(_, other)| other);
        if let Some(other) = other.filter(|other| *other != file) {
            anyhow::bail!("{} and {} would be one image, {name}: rename a file", other.display(), file.display());
        }
    }
    if config.spare_ports > 0 {
        for name in IMAGES {
            images.entry(name).or_insert((ImageName::new(name)?, workspace::image(name)?));
        }
    }
    Ok(images.into_values().collect())
}
