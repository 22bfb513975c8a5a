use super::*;

fn parse(text: &str) -> Result<Config, Fault> {
    Config::parse(Path::new("folder/portico.toml"), text)
}

fn fault(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_example_says_what_the_documentation_says_of_it() {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/portico.toml"));
    let config = Config::read(file).unwrap();
    assert_eq!(config.spare_ports, 2);
    let names: Vec<_> = config.partitions.iter().map(|partition| partition.name.text()).collect();
    assert_eq!(names, ["echo-1", "echo-2", "watcher", "adapter"]);
    let [first, second, watcher, adapter] = &config.partitions[..] else { panic!("four partitions") };
    assert_eq!(first.image, Some(Image { name: ImageName::new("echo").unwrap(), file: None }));
    assert_eq!((first.memory, first.qp0, first.autostart), (DEFAULT_MEMORY, Qp0::None, true));
    assert!(!second.autostart);
    assert_eq!((watcher.memory, watcher.qp0, watcher.refused), (4, Qp0::Query, Refused::Answer));
    assert_eq!((watcher.smps_per_second, watcher.traps_per_second), (100, 1));
    assert_eq!(adapter.image, None);
    assert_eq!(adapter.guid, Some(Guid::new(0x0200_0000_0000_1000)));
}

#[test]
fn a_manager_is_added_once() {
    let mut config = parse("[[partition]]\nname = 'a'").unwrap();
    config.add_manager("bridge").unwrap();
    let bridge = config.partitions[1].clone();
    assert_eq!((bridge.name.text(), bridge.qp0), ("bridge", Qp0::Manager));
    assert_eq!(bridge.image.unwrap().name.text(), "bridge");
    let once = config.clone();
    config.add_manager("bridge").unwrap();
    assert_eq!(config, once);
    let none = fault("[[partition]]\nname = 'a'\nimage = 'bridge'");
    assert!(none.contains("a bridge sends at queue pair 0"), "{none}");
}

#[test]
fn an_image_may_be_a_file_beside_the_configuration() {
    let config = parse("[[partition]]\nname = 'a'\nimage = './My_Image.elf'").unwrap();
    let image = config.partitions[0].image.as_ref().unwrap();
    assert_eq!(image.name.text(), "file-my-image");
    assert_eq!(image.file.as_deref(), Some(Path::new("folder/./My_Image.elf")));
}

#[test]
fn a_manager_may_sweep_as_fast_as_it_likes() {
    let config = parse("[[partition]]\nname = 'sm'\nqp0 = 'manager'").unwrap();
    assert_eq!(config.partitions[0].smps_per_second, DEFAULT_MANAGER_SMPS);
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_what_is_allowed() {
    let cases = [
        ("spare-ports = 300", 1, "`spare-ports = 300`: there are 0 to 253 spare ports"),
        ("spare-ports = 'x'", 1, "expected i64"),
        ("spareports = 1", 1, "unknown field `spareports`, expected `spare-ports` or `partition`"),
        ("\n[[partition]]\nimage = 'echo'", 2, "missing field `name`"),
        ("[[partition]]\nname = ''", 2, "`name = ''`: a name is empty"),
        ("[[partition]]\nname = 'a'\nmemroy = '2M'", 3, "unknown field `memroy`, expected one of `name`"),
        (
            "[[partition]]\nname = 'a'\nmemory = '1M'",
            3,
            "`memory = '1M'`: memory is a number and M or G, \"2M\" or more",
        ),
        ("[[partition]]\nname = 'a'\nmemory = '2T'", 3, "\"2M\" or more"),
        ("[[partition]]\nname = 'a'\nmemory = '99999999G'", 3, "\"2M\" or more"),
        ("[[partition]]\nname = 'a'\nmemory = 2", 3, "invalid type: integer `2`, expected a string"),
        (
            "[[partition]]\nname = 'a'\nqp0 = 'all'",
            3,
            "unknown variant `all`, expected one of `none`, `query`, `manager`",
        ),
        ("[[partition]]\nname = 'a'\nrefused = 'no'", 3, "expected `drop` or `answer`"),
        ("[[partition]]\nname = 'a'\nautostart = 1", 3, "expected a boolean"),
        ("[[partition]]\nname = 'a'\nports = 3", 3, "`ports = 3`: an LHCA has 1 or 2 ports"),
        ("[[partition]]\nname = 'a'\ntraps-per-second = -1", 3, "a rate is 0 to 4294967295"),
        ("[[partition]]\nname = 'a'\nimage = 'Echo'", 3, "lower-case letters, digits and dashes"),
        ("[[partition]]\nname = 'a'\nguid = '12'", 3, "a GUID is \"0x\" and up to 16 hexadecimal digits"),
        ("[[partition]]\nname = 'a'\nguid = '0x0'", 3, "not all 0"),
        ("[[partition]]\nname = 'a'\n\n[[partition]]\nname = 'a'", 5, "`name = 'a'`: another partition has this name"),
        (
            "[[partition]]\nname = 'a'\nguid = '0x10'\n[[partition]]\nname = 'b'\nguid = '0x12'",
            6,
            "its ports would share GUIDs with 0x10: keep node GUIDs 3 apart",
        ),
        ("spare-ports = 1\n[[partition]", 2, "`[[partition]`: "),
    ];
    for (text, line, words) in cases {
        let fault = fault(text);
        assert!(fault.starts_with(&format!("folder/portico.toml, line {line}, ")), "{text}\n{fault}");
        assert!(fault.contains(words), "{text}\n{fault}");
    }
    let long = format!("[[partition]]\nname = 'a'\narguments = '{}'", "x".repeat(257));
    assert!(fault(&long).contains("arguments are up to 256 bytes of text"));
}

#[test]
fn words_say_the_same_as_a_file() {
    let words = ["name=web 1", "image=echo", "memory=4M", "qp0=query", "ports=1", "autostart=false", "guid=0x1000"];
    let told = Partition::of_words(&words.map(str::to_owned)).unwrap();
    let text = "[[partition]]\nname = 'web 1'\nimage = 'echo'\nmemory = '4M'\nqp0 = 'query'\nports = 1\n\
        autostart = false\nguid = '0x1000'";
    assert_eq!([told], parse(text).unwrap().partitions[..]);
    let fault = |words: &[&str]| {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        Partition::of_words(&words).unwrap_err().to_string()
    };
    assert!(fault(&["image=echo"]).contains("missing field `name`"));
    assert!(fault(&["name=a", "memory=1M"]).starts_with("word 2, `memory = \"1M\"`: memory is"), "by its place");
    assert!(fault(&["name=a", "autostart=yes"]).starts_with("word 2, `autostart = yes`: "));
    assert!(fault(&["name=a", "echo"]).starts_with("word 2, `echo`: "));
}
