//! Configurations that are read, and configurations that are refused.

use std::path::Path;

use iba::Guid;
use partition_table::{DEFAULT_MEMORY_MIB, ImageName, MAX_ARGUMENTS, Policy, Qp0Policy, RefusalPolicy};

use super::*;

fn parse(text: &str) -> Result<Config, Fault> {
    Config::parse(Path::new("folder/portico.toml"), text)
}

fn fault(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn example_file_has_the_documented_values() {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/portico.toml"));
    let config = Config::read(file).unwrap();
    assert_eq!(config.spare_ports, 2);
    let names: Vec<_> = config.partitions.iter().map(|partition| partition.name.text()).collect();
    assert_eq!(names, ["echo-1", "echo-2", "watcher", "adapter"]);
    let [first, second, watcher, adapter] = &config.partitions[..] else { panic!("four partitions") };
    assert_eq!(first.image, Some(Image { name: ImageName::new("echo").unwrap(), file: None }));
    assert_eq!((first.memory, first.policy, first.autostart), (DEFAULT_MEMORY_MIB, Policy::default(), true));
    assert!(!second.autostart);
    let policy =
        Policy { qp0: Qp0Policy::Query, refused: RefusalPolicy::Answer, smps_per_second: 100, traps_per_second: 1 };
    assert_eq!((watcher.memory, watcher.policy), (4, policy));
    assert_eq!(adapter.image, None);
    assert_eq!(adapter.guid, Some(Guid::new(0x0200_0000_0000_1000)));
}

#[test]
fn manager_that_exists_is_not_added_again() {
    let mut config = parse("[[partition]]\nname = 'a'").unwrap();
    config.add_manager("bridge").unwrap();
    let bridge = config.partitions[1].clone();
    assert_eq!((bridge.name.text(), bridge.policy), ("bridge", Policy::new(Qp0Policy::Manager)));
    assert_eq!(bridge.image.unwrap().name.text(), "bridge");
    let once = config.clone();
    config.add_manager("bridge").unwrap();
    assert_eq!(config, once);
    let none = fault("[[partition]]\nname = 'a'\nimage = 'bridge'");
    assert!(none.contains("a bridge sends at queue pair 0"), "{none}");
}

#[test]
fn image_path_is_relative_to_the_configuration() {
    let config = parse("[[partition]]\nname = 'a'\nimage = './My_Image.elf'").unwrap();
    let image = config.partitions[0].image.as_ref().unwrap();
    assert_eq!(image.name.text(), "file-my-image");
    assert_eq!(image.file.as_deref(), Some(Path::new("folder/./My_Image.elf")));
}

#[test]
fn manager_without_a_rate_gets_the_managers_default() {
    let config = parse("[[partition]]\nname = 'sm'\nqp0 = 'manager'").unwrap();
    assert_eq!(config.partitions[0].policy, Policy::new(Qp0Policy::Manager));
}

#[test]
fn fault_has_line_text_and_allowed_values() {
    let cases = [
        ("spare-ports = 300", 1, "`spare-ports = 300`: use 0 to 253 spare ports"),
        ("spare-ports = 'x'", 1, "expected i64"),
        ("spareports = 1", 1, "unknown field `spareports`, expected `spare-ports` or `partition`"),
        ("\n[[partition]]\nimage = 'echo'", 2, "missing field `name`"),
        ("[[partition]]\nname = ''", 2, "`name = ''`: cannot use an empty name: give"),
        ("[[partition]]\nname = 'a'\nmemroy = '2M'", 3, "unknown field `memroy`, expected one of `name`"),
        (
            "[[partition]]\nname = 'a'\nmemory = '1M'",
            3,
            "`memory = '1M'`: write memory as a number and M or G, \"2M\" or more",
        ),
        ("[[partition]]\nname = 'a'\nmemory = '2T'", 3, "\"2M\" or more"),
        ("[[partition]]\nname = 'a'\nmemory = '99999999G'", 3, "\"2M\" or more"),
        ("[[partition]]\nname = 'a'\nmemory = 2", 3, "invalid type: integer `2`, expected a string"),
        ("[[partition]]\nname = 'a'\nqp0 = 'all'", 3, "unknown word; use one of [\"none\", \"query\", \"manager\"]"),
        ("[[partition]]\nname = 'a'\nrefused = 'no'", 3, "use one of [\"drop\", \"answer\"]"),
        ("[[partition]]\nname = 'a'\nautostart = 1", 3, "expected a boolean"),
        ("[[partition]]\nname = 'a'\nports = 3", 3, "`ports = 3`: use 1 to 2 ports"),
        ("[[partition]]\nname = 'a'\ntraps-per-second = -1", 3, "use a rate of 0 to 4294967295"),
        ("[[partition]]\nname = 'a'\nimage = 'Echo'", 3, "lower-case letters, digits and dashes"),
        ("[[partition]]\nname = 'a'\nguid = '12'", 3, "write a GUID as \"0x\" and 1 to 16 hexadecimal digits"),
        ("[[partition]]\nname = 'a'\nguid = '0x0'", 3, "not all 0"),
        ("[[partition]]\nname = 'a'\n\n[[partition]]\nname = 'a'", 5, "`name = 'a'`: another partition has this name"),
        (
            "[[partition]]\nname = 'a'\nguid = '0x10'\n[[partition]]\nname = 'b'\nguid = '0x12'",
            6,
            "its ports would share GUIDs with 0x10; keep node GUIDs 3 apart",
        ),
        ("spare-ports = 1\n[[partition]", 2, "`[[partition]`: "),
    ];
    for (text, line, words) in cases {
        let fault = fault(text);
        assert!(fault.starts_with(&format!("folder/portico.toml, line {line}, ")), "{text}\n{fault}");
        assert!(fault.contains(words), "{text}\n{fault}");
    }
    let long = format!("[[partition]]\nname = 'a'\narguments = '{}'", "x".repeat(MAX_ARGUMENTS + 1));
    assert!(fault(&long).contains("use at most 256 bytes of text"));
}

#[test]
fn partition_from_words_equals_partition_from_file() {
    let words = ["name=web 1", "image=echo", "memory=4M", "qp0=query", "ports=1", "autostart=false", "guid=0x1000"];
    let from_words = Partition::from_words(&words.map(str::to_owned)).unwrap();
    let text = "[[partition]]\nname = 'web 1'\nimage = 'echo'\nmemory = '4M'\nqp0 = 'query'\nports = 1\n\
        autostart = false\nguid = '0x1000'";
    assert_eq!([from_words], parse(text).unwrap().partitions[..]);
    let fault = |words: &[&str]| {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        Partition::from_words(&words).unwrap_err().to_string()
    };
    assert!(fault(&["image=echo"]).contains("missing field `name`"));
    assert!(fault(&["name=a", "memory=1M"]).starts_with("word 2, `memory = \"1M\"`: write memory"), "by its place");
    assert!(fault(&["name=a", "autostart=yes"]).starts_with("word 2, `autostart = yes`: "));
    assert!(fault(&["name=a", "echo"]).starts_with("word 2, `echo`: "));
}

/// Page of the book about the configuration.
const PAGE: &str = include_str!("../../../book/src/portico-toml.md");

/// Returns the cells of the tables on the page: key, type, default, limits, meaning.
fn table_rows() -> Vec<Vec<String>> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// Returns the keys that the parser lists for an unknown one.
fn known_keys(text: &str) -> Vec<String> {
    let fault = fault(text);
    let (_, known) = fault.split_once("expected ").expect("the known keys");
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn page_lists_every_key_in_the_order_of_the_code() {
    let keys: Vec<_> = table_rows().iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let known = [known_keys("unknown = 1"), known_keys("[[partition]]\nname = 'a'\nunknown = 1")].concat();
    assert_eq!(keys, known);
}

#[test]
fn page_lists_the_default_of_every_key() {
    for (index, row) in table_rows().into_iter().enumerate() {
        let (key, default) = (row[0].trim_matches('`'), &row[2]);
        let Some(default) = default.strip_prefix('`').and_then(|default| default.strip_suffix('`')) else {
            assert!(["partition", "name", "hypervisor", "guid", "image", "ports"].contains(&key), "{row:?}");
            continue;
        };
        let partition = "[[partition]]\nname = 'a'\n";
        let explicit = match index {
            0 => format!("{key} = {default}\n{partition}"),
            _ => format!("{partition}{key} = {default}\n"),
        };
        assert_eq!(parse(&explicit), parse(partition), "{key}");
    }
    let manager = Policy::new(Qp0Policy::Manager).smps_per_second;
    assert!(PAGE.contains(&format!("the default of `qp0 = \"manager\"` is `{manager}`")));
}

#[test]
fn page_lists_the_limits_of_the_code() {
    use partition_table::{MAX_HCAS, MAX_LHCAS, MAX_UPLINKS, MIN_MEMORY_MIB};
    let words = |words: &[&str]| words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ");
    let limits = [
        ("spare-ports", format!("0 to {MAX_LHCAS}")),
        ("partition", format!("{MAX_LHCAS} LHCAs and spare ports on a logical switch")),
        ("memory", format!("a number and `M` or `G`, {MIN_MEMORY_MIB} MiB or more")),
        ("arguments", format!("{MAX_ARGUMENTS} bytes, no NUL")),
        ("ports", format!("1 to {MAX_UPLINKS}")),
        ("qp0", words(&Qp0Policy::VALUES.iter().map(|value| value.word()).collect::<Vec<_>>())),
        ("refused", words(&RefusalPolicy::VALUES.iter().map(|value| value.word()).collect::<Vec<_>>())),
        ("smps-per-second", format!("0 to {}", u32::MAX)),
        ("traps-per-second", format!("0 to {}", u32::MAX)),
    ];
    for (key, limit) in limits {
        let row = table_rows().into_iter().find(|row| row[0] == format!("`{key}`")).expect(key);
        assert_eq!(row[3], limit, "{key}");
    }
    assert!(PAGE.contains(&format!("a hypervisor has {MAX_HCAS} of them at most")));
}

#[test]
fn example_of_the_page_is_a_configuration() {
    let (_, rest) = PAGE.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("the end of the example");
    let config = parse(example).unwrap();
    let names: Vec<_> = config.partitions.iter().map(|partition| partition.name.text()).collect();
    assert_eq!((config.spare_ports, &names[..]), (2, &["echo-1", "echo-2", "watcher", "sm", "adapter"][..]));
    assert_eq!(config.partitions[3].policy, Policy::new(Qp0Policy::Manager));
}

#[test]
fn message_of_the_page_is_that_of_the_code() {
    let (_, rest) = PAGE.split_once("    error: portico.toml, ").expect("a message");
    let message = rest.lines().next().unwrap();
    assert!(fault("[[partition]]\nname = 'a'\nmemory = \"1M\"").ends_with(message));
}
