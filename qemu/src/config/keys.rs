//! The keys, and what their values may be.

use std::path::Path;

use iba::Guid;
use partition_table::{MAX_ARGUMENTS, MAX_LHCAS, MIN_MEMORY, Name};
use serde::Deserialize;
use toml::{Spanned, Value};

use super::fault::Wrong;
use super::{DEFAULT_MANAGER_SMPS, Image, Partition, Qp0, Refused, share};

/// Keys of a partition whose values are no text.
const NO_TEXT: [&str; 4] = ["ports", "autostart", "smps-per-second", "traps-per-second"];

/// A configuration as it is written, its values not checked yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawConfig {
    spare_ports: Option<Spanned<i64>>,
    #[serde(default, rename = "partition")]
    pub(super) partitions: Vec<RawPartition>,
}

/// A partition as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPartition {
    name: Spanned<String>,
    hypervisor: Option<String>,
    guid: Option<Spanned<String>>,
    image: Option<Spanned<String>>,
    memory: Option<Spanned<String>>,
    arguments: Option<Spanned<String>>,
    ports: Option<Spanned<i64>>,
    autostart: Option<bool>,
    #[serde(default)]
    qp0: Qp0,
    smps_per_second: Option<Spanned<i64>>,
    traps_per_second: Option<Spanned<i64>>,
    #[serde(default)]
    refused: Refused,
}

impl RawConfig {
    pub(super) fn spare_ports(&self) -> Result<u8, Wrong> {
        let within = |value| u8::try_from(value).ok().filter(|&ports| usize::from(ports) <= MAX_LHCAS);
        let allowed = format!("there are 0 to {MAX_LHCAS} spare ports");
        self.spare_ports.as_ref().map_or(Ok(0), |value| number(value, within, &allowed))
    }

    /// Refuses two partitions of one name, and two LHCAs that would share a GUID.
    pub(super) fn refuse_duplicates(&self) -> Result<(), Wrong> {
        for (index, partition) in self.partitions.iter().enumerate() {
            let before = &self.partitions[..index];
            let name = &partition.name;
            if before.iter().any(|other| other.name.get_ref() == name.get_ref()) {
                return Err(wrong(name, "another partition has this name: give each a name of its own"));
            }
            let Some(written) = &partition.guid else { continue };
            let this = guid(written)?;
            for other in before.iter().filter_map(|other| other.guid.as_ref()) {
                if share(guid(other)?, this) {
                    let what = format!("its ports would share GUIDs with {}: keep node GUIDs 3 apart", other.get_ref());
                    return Err(wrong(written, what));
                }
            }
        }
        Ok(())
    }
}

impl Partition {
    /// What is written, if it can be; paths are taken from `folder` on.
    pub(super) fn check(raw: RawPartition, folder: &Path) -> Result<Self, Wrong> {
        let name = Name::new(raw.name.get_ref()).map_err(|error| wrong(&raw.name, error.to_string()))?;
        let mut partition =
            Self { hypervisor: raw.hypervisor, qp0: raw.qp0, refused: raw.refused, ..Self::named(name) };
        if partition.qp0 == Qp0::Manager {
            partition.smps_per_second = DEFAULT_MANAGER_SMPS;
        }
        partition.guid = raw.guid.as_ref().map(guid).transpose()?;
        partition.image = raw.image.as_ref().map(|written| image(written, folder)).transpose()?;
        if partition.is_bridge()
            && partition.qp0 == Qp0::None
            && let Some(image) = &raw.image
        {
            return Err(wrong(image, "a bridge sends at queue pair 0: give it qp0 = \"query\" or \"manager\""));
        }
        partition.autostart = raw.autostart.unwrap_or(true);
        if let Some(written) = &raw.memory {
            partition.memory = memory(written)?;
        }
        if let Some(written) = raw.arguments {
            if written.get_ref().len() > MAX_ARGUMENTS || written.get_ref().contains('\0') {
                return Err(wrong(&written, format!("arguments are up to {MAX_ARGUMENTS} bytes of text")));
            }
            partition.arguments = written.into_inner();
        }
        let ports = |value| u8::try_from(value).ok().filter(|ports| matches!(ports, 1 | 2));
        partition.ports =
            raw.ports.as_ref().map(|written| number(written, ports, "an LHCA has 1 or 2 ports")).transpose()?;
        let rates = [
            (&raw.smps_per_second, &mut partition.smps_per_second),
            (&raw.traps_per_second, &mut partition.traps_per_second),
        ];
        for (written, rate) in rates {
            if let Some(written) = written {
                *rate = number(written, |value| u32::try_from(value).ok(), "a rate is 0 to 4294967295")?;
            }
        }
        Ok(partition)
    }
}

/// The line of TOML that the word `KEY=VALUE` stands for.
pub(super) fn as_toml(word: &str) -> String {
    match word.split_once('=') {
        Some((key, value)) if NO_TEXT.contains(&key) => format!("{key} = {value}"),
        Some((key, value)) => format!("{key} = {}", Value::from(value)),
        None => word.to_owned(),
    }
}

fn wrong<T>(written: &Spanned<T>, what: impl Into<String>) -> Wrong {
    Wrong { at: written.span(), what: what.into() }
}

fn number<T>(written: &Spanned<i64>, within: impl Fn(i64) -> Option<T>, allowed: &str) -> Result<T, Wrong> {
    within(*written.get_ref()).ok_or_else(|| wrong(written, allowed))
}

fn guid(written: &Spanned<String>) -> Result<Guid, Wrong> {
    let digits = written.get_ref().strip_prefix("0x");
    let value = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).filter(|&value| value != 0);
    value.map(Guid::new).ok_or_else(|| wrong(written, "a GUID is \"0x\" and up to 16 hexadecimal digits, not all 0"))
}

/// In MiB.
fn memory(written: &Spanned<String>) -> Result<u32, Wrong> {
    let text = written.get_ref();
    let amount = |unit, factor: u32| text.strip_suffix(unit)?.parse::<u32>().ok()?.checked_mul(factor);
    let amount = amount('M', 1).or_else(|| amount('G', 1 << 10));
    amount
        .filter(|&amount| u64::from(amount) << 20 >= MIN_MEMORY)
        .ok_or_else(|| wrong(written, format!("memory is a number and M or G, \"{}M\" or more", MIN_MEMORY >> 20)))
}

fn image(written: &Spanned<String>, folder: &Path) -> Result<Image, Wrong> {
    let image = Image::named(written.get_ref()).map_err(|error| wrong(written, error.to_string()))?;
    Ok(Image { file: image.file.map(|file| folder.join(file)), ..image })
}
