//! The keys of a configuration, and the checks of their values.

use std::path::Path;
use std::str::FromStr;

use iba::Guid;
use partition_table::{MAX_ARGUMENTS, MAX_LHCAS, MAX_UPLINKS, MIN_MEMORY_MIB, Name, Policy, Qp0Policy};
use serde::Deserialize;
use toml::{Spanned, Value};

use super::fault::{Fault, Mistake, Source};
use super::partition::{Image, Partition};

/// A configuration as written; its values are unchecked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawConfig {
    spare_ports: Option<Spanned<i64>>,
    #[serde(default, rename = "partition")]
    partitions: Vec<RawPartition>,
}

/// A partition as written; its values are unchecked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawPartition {
    name: Spanned<String>,
    hypervisor: Option<String>,
    guid: Option<Spanned<String>>,
    image: Option<Spanned<String>>,
    memory: Option<Spanned<String>>,
    arguments: Option<Spanned<String>>,
    ports: Option<Spanned<i64>>,
    autostart: Option<bool>,
    qp0: Option<Spanned<String>>,
    smps_per_second: Option<Spanned<i64>>,
    traps_per_second: Option<Spanned<i64>>,
    refused: Option<Spanned<String>>,
}

impl RawConfig {
    /// Checks all values; returns the spare ports and the partitions. Relative paths of images start at `folder`.
    pub(super) fn check(self, folder: &Path) -> Result<(u8, Vec<Partition>), Mistake> {
        let spare_ports = self.spare_ports()?;
        self.refuse_duplicates()?;
        let partitions = self.partitions.into_iter().map(|raw| raw.check(folder));
        Ok((spare_ports, partitions.collect::<Result<_, _>>()?))
    }

    fn spare_ports(&self) -> Result<u8, Mistake> {
        let in_range = |value| u8::try_from(value).ok().filter(|&ports| ports <= MAX_LHCAS);
        let allowed = format!("use 0 to {MAX_LHCAS} spare ports");
        self.spare_ports.as_ref().map_or(Ok(0), |value| number(value, in_range, &allowed))
    }

    /// Refuses two partitions of one name, and two LHCAs that would share a GUID.
    fn refuse_duplicates(&self) -> Result<(), Mistake> {
        for (index, partition) in self.partitions.iter().enumerate() {
            let before = &self.partitions[..index];
            let name = &partition.name;
            if before.iter().any(|other| other.name.get_ref() == name.get_ref()) {
                return Err(mistake(name, "another partition has this name; give each a name of its own"));
            }
            let Some(written) = &partition.guid else { continue };
            let this = guid(written)?;
            for other in before.iter().filter_map(|other| other.guid.as_ref()) {
                if shares_guids(guid(other)?, this) {
                    let reason =
                        format!("its ports would share GUIDs with {}; keep node GUIDs 3 apart", other.get_ref());
                    return Err(mistake(written, reason));
                }
            }
        }
        Ok(())
    }
}

impl RawPartition {
    /// Checks all values. Relative paths of images start at `folder`.
    fn check(self, folder: &Path) -> Result<Partition, Mistake> {
        let name = Name::new(self.name.get_ref()).map_err(|error| mistake(&self.name, error.to_string()))?;
        let partition = Partition {
            policy: self.policy()?,
            guid: self.guid.as_ref().map(guid).transpose()?,
            image: self.image.as_ref().map(|written| image(written, folder)).transpose()?,
            ports: self.ports()?,
            autostart: self.autostart.unwrap_or(true),
            ..Partition::new(name)
        };
        if let (Some(image), true, Qp0Policy::Closed) = (&self.image, partition.is_bridge(), partition.policy.qp0) {
            return Err(mistake(image, "a bridge sends at queue pair 0; set qp0 = \"query\" or \"manager\""));
        }
        Ok(Partition {
            memory: self.memory.as_ref().map_or(Ok(partition.memory), memory)?,
            arguments: self.arguments.map_or(Ok(String::new()), arguments)?,
            hypervisor: self.hypervisor,
            ..partition
        })
    }

    fn policy(&self) -> Result<Policy, Mistake> {
        let mut policy = Policy::new(word(self.qp0.as_ref())?.unwrap_or_default());
        policy.refused = word(self.refused.as_ref())?.unwrap_or(policy.refused);
        let rate = |written: &Option<Spanned<i64>>, default| match written {
            Some(written) => number(written, |value| u32::try_from(value).ok(), "use a rate of 0 to 4294967295"),
            None => Ok(default),
        };
        policy.smps_per_second = rate(&self.smps_per_second, policy.smps_per_second)?;
        policy.traps_per_second = rate(&self.traps_per_second, policy.traps_per_second)?;
        Ok(policy)
    }

    fn ports(&self) -> Result<Option<u8>, Mistake> {
        let in_range = |value| u8::try_from(value).ok().filter(|&ports| (1..=MAX_UPLINKS).contains(&ports.into()));
        let allowed = format!("use 1 to {MAX_UPLINKS} ports");
        self.ports.as_ref().map(|written| number(written, in_range, &allowed)).transpose()
    }
}

impl Partition {
    /// Parses the words of a command line, each `KEY=VALUE`: the keys of a `[[partition]]`, their values without
    /// quotation marks.
    ///
    /// # Errors
    /// [`Fault`] is the first mistake, with the number of its word.
    pub fn from_words(words: &[String]) -> Result<Self, Fault> {
        let text: Vec<_> = words.iter().map(|word| as_toml(word)).collect();
        let source = Source::Words(&text.join("\n"));
        let raw: RawPartition = source.deserialize()?;
        raw.check(Path::new("")).map_err(|mistake| source.fault(mistake))
    }
}

/// Returns the line of TOML that the word `KEY=VALUE` stands for.
fn as_toml(word: &str) -> String {
    match word.split_once('=') {
        Some((key, value)) if KEYS_WITHOUT_TEXT.contains(&key) => format!("{key} = {value}"),
        Some((key, value)) => format!("{key} = {}", Value::from(value)),
        None => word.to_owned(),
    }
}

fn mistake<T>(written: &Spanned<T>, reason: impl Into<String>) -> Mistake {
    Mistake { at: written.span(), reason: reason.into() }
}

fn number<T>(written: &Spanned<i64>, in_range: impl Fn(i64) -> Option<T>, allowed: &str) -> Result<T, Mistake> {
    in_range(*written.get_ref()).ok_or_else(|| mistake(written, allowed))
}

fn word<T: FromStr<Err: ToString>>(written: Option<&Spanned<String>>) -> Result<Option<T>, Mistake> {
    let parse = |written: &Spanned<String>| {
        written.get_ref().parse().map_err(|error: T::Err| mistake(written, error.to_string()))
    };
    written.map(parse).transpose()
}

fn guid(written: &Spanned<String>) -> Result<Guid, Mistake> {
    let digits = written.get_ref().strip_prefix("0x");
    let value = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).filter(|&value| value != 0);
    value
        .map(Guid::new)
        .ok_or_else(|| mistake(written, "write a GUID as \"0x\" and 1 to 16 hexadecimal digits, not all 0"))
}

/// Reads a size of memory, in MiB.
fn memory(written: &Spanned<String>) -> Result<u32, Mistake> {
    let text = written.get_ref();
    let amount = |unit, factor: u32| text.strip_suffix(unit)?.parse::<u32>().ok()?.checked_mul(factor);
    let amount = amount('M', 1).or_else(|| amount('G', 1 << 10));
    amount
        .filter(|&amount| amount >= MIN_MEMORY_MIB)
        .ok_or_else(|| mistake(written, format!("write memory as a number and M or G, \"{MIN_MEMORY_MIB}M\" or more")))
}

fn arguments(written: Spanned<String>) -> Result<String, Mistake> {
    if written.get_ref().len() > MAX_ARGUMENTS || written.get_ref().contains('\0') {
        return Err(mistake(&written, format!("use at most {MAX_ARGUMENTS} bytes of text, without NUL")));
    }
    Ok(written.into_inner())
}

fn image(written: &Spanned<String>, folder: &Path) -> Result<Image, Mistake> {
    let image = Image::new(written.get_ref()).map_err(|error| mistake(written, error.to_string()))?;
    Ok(Image { file: image.file.map(|file| folder.join(file)), ..image })
}

/// Returns `true` if two nodes with these GUIDs would share one: the node's own, or a port's.
fn shares_guids(a: Guid, b: Guid) -> bool {
    a.get().abs_diff(b.get()) <= MAX_UPLINKS as u64
}

/// Keys of a partition whose values are not text.
const KEYS_WITHOUT_TEXT: [&str; 4] = ["ports", "autostart", "smps-per-second", "traps-per-second"];
