//! Images of a machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use partition_table::ImageName;

use super::workspace::{self, IMAGES};
use portico_qemu::config::{Config, Image};

/// Returns the names and files of the images of `config`, and with spare ports of every image that is built from the
/// sources.
///
/// # Errors
/// An image does not exist, or two files would get one name.
pub(crate) fn of(config: &Config) -> Result<Vec<(ImageName, PathBuf)>> {
    let mut images = BTreeMap::new();
    for Image { name, file } in config.partitions.iter().filter_map(|partition| partition.image.as_ref()) {
        let file = match file {
            Some(file) => file.clone(),
            None => workspace::image(name.text())?,
        };
        ensure!(file.is_file(), "cannot find the image {}: check the path", file.display());
        let other = images.insert(name.text(), (*name, file.clone())).map(|(_, other)| other);
        if let Some(other) = other.filter(|other| *other != file) {
            anyhow::bail!(
                "cannot use {} and {}: both would be the image {name}; rename a file",
                other.display(),
                file.display()
            );
        }
    }
    if config.spare_ports > 0 {
        for name in IMAGES {
            images.entry(name).or_insert((ImageName::new(name)?, workspace::image(name)?));
        }
    }
    Ok(images.into_values().collect())
}
