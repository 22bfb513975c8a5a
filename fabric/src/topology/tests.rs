//! Valid netlists, refused netlists, and round trips.

use proptest::prelude::*;

use super::*;

#[test]
fn default_is_a_switch_two_hosts_and_a_hypervisor() {
    let mut topology = Topology::parse(DEFAULT).unwrap();
    topology.set_hypervisor(DEFAULT_HYPERVISOR).unwrap();
    let nodes: Vec<_> = topology.nodes.iter().map(|node| (node.id.as_str(), node.kind)).collect();
    let expected = [("S1", Kind::Switch), ("H1", Kind::Host), ("H2", Kind::Host), ("portico-0", Kind::Hypervisor)];
    assert_eq!(nodes, expected);
    assert!(topology.nodes[1..].iter().all(|node| node.ports[0].peer.is_some()));
}

#[test]
fn node_is_found_by_id_description_and_guid() {
    let topology = Topology::parse("caguid=0xabc\nCa 1 \"H-1\" # \"host one\"\n").unwrap();
    for name in ["H-1", "host one", "0xabc", "0x0000000000000abc"] {
        assert_eq!(topology.find(name), Some(0), "{name}");
    }
    for name in ["H-2", "abc", "0xabd", ""] {
        assert_eq!(topology.find(name), None, "{name}");
    }
}

#[test]
fn switch_or_large_adapter_as_hypervisor_is_refused() {
    let mut topology = Topology::parse("Switch 2 \"S\"\n\nCa 2 \"two\"\n\nCa 3 \"three\"\n").unwrap();
    assert_eq!(topology.set_hypervisor("two"), Ok(()));
    assert_eq!(topology.set_hypervisor("three"), Err(HypervisorError::Ports("three".into(), 3)));
    assert_eq!(topology.set_hypervisor("S"), Err(HypervisorError::Switch("S".into())));
    assert_eq!(topology.set_hypervisor("four"), Err(HypervisorError::Unknown("four".into())));
}

/// Output of ibnetdiscover.
const DISCOVERED: &str = r#"#
# Topology file: generated on Sun Nov 22 13:45:23 2026
#
# Initiated from node 0200000000001000 port 0200000000001001

vendid=0x525400
devid=0x7
sysimgguid=0x200000000002000
switchguid=0x200000000002000(200000000002000)
Switch	36 "S-0200000000002000"		# "S1 "the" switch" enhanced port 0 lid 3 lmc 0
[1]	"H-0200000000001000"[1](200000000001001) 		# "H1" lid 1 4xEDR
[36]	"S-0200000000003000"[2]		# "S2" lid 4 12xQDR

switchguid=0x200000000003000(200000000003000)
Switch	4 "S-0200000000003000"		# S2 base port 0 lid 4 lmc 0
[2]	"S-0200000000002000"[36]		# "S1" lid 3 12xQDR

vendid=0x525400
caguid=0x200000000001000
Ca	2 "H-0200000000001000"		# "H1"
[1](200000000001001) 	"S-0200000000002000"[1]		# lid 1 lmc 0 "S1" lid 3 4xEDR
"#;

fn peer(node: usize, port: u8) -> Option<PortRef> {
    Some(PortRef { node, port: PortNum::new(port) })
}

#[test]
fn output_of_ibnetdiscover_is_parsed() {
    let Topology { nodes } = Topology::parse(DISCOVERED).unwrap();
    let descriptions: Vec<_> = nodes.iter().map(|node| node.description.as_str()).collect();
    assert_eq!(descriptions, ["S1 \"the\" switch", "S2", "H1"]);
    assert_eq!(nodes.iter().map(|node| node.ports.len()).collect::<Vec<_>>(), [36, 4, 2]);
    assert_eq!((nodes[0].vendor_id, nodes[0].device_id), (Some(0x52_5400), Some(7)));
    assert_eq!((nodes[1].vendor_id, nodes[1].device_id), (None, None), "each holds for one node");
    assert_eq!(nodes[1].system_image_guid, nodes[1].guid);
    assert_eq!(nodes[2].guid, Guid::new(0x0200_0000_0000_1000));
    assert_eq!(nodes[0].ports[0].peer, peer(2, 1));
    assert_eq!(nodes[1].ports[1].peer, peer(0, 36));
    assert_eq!(nodes[2].ports[1].peer, None);
    assert_eq!(nodes[0].ports[0].abilities, Abilities { widths: 3, speeds: 7, speeds_ext: 3 });
    assert_eq!(nodes[0].ports[35].abilities, Abilities { widths: 0xb, speeds: 7, speeds_ext: 0 });
}

#[test]
fn netlist_of_ibsim_is_parsed() {
    let text = "# hosts first\nwidth=1\nHca 2 \"H1\"\n# its second port\n[2] \"S1\" w=3 s=7 e=1\nspeed=1\nextspeed=0\n\
                Switch 8 \"S1\" # the switch\n [1] \"H1\"[2]\n";
    let Topology { nodes } = Topology::parse(text).unwrap();
    assert_eq!(nodes[0].ports[1].peer, peer(1, 1), "the default of the other port is 1");
    assert_eq!(nodes[0].ports[0].abilities, Abilities { widths: 1, ..Abilities::default() });
    assert_eq!(nodes[0].ports[1].abilities, Abilities { widths: 3, speeds: 7, speeds_ext: 1 });
    assert_eq!(nodes[1].ports[0].abilities, Abilities { widths: 1, speeds: 1, speeds_ext: 0 });
    assert_eq!(nodes[1].description, "the switch");
}

#[test]
fn guid_without_a_line_is_local_and_constant() {
    let Topology { nodes } = Topology::parse(DEFAULT).unwrap();
    for node in &nodes {
        let guid = node.guid.get();
        assert_eq!((guid >> 56, guid & 0xff), (2, 0), "{guid:#x}");
        assert_eq!(node.system_image_guid, node.guid);
    }
    assert_eq!(nodes[0].guid, Guid::new(0x0209_45ff_07b5_d500), "of the name S1, in every run");
}

/// Netlists with a mistake, its line, and a part of the message.
const FAULTY: &[(&str, usize, &str)] = &[
    ("Swich 8 \"S1\"", 1, "expected `Switch`, `Ca`, `Hca`"),
    ("vendor=1", 1, "expected `Switch`, `Ca`, `Hca`"),
    ("include \"other\"", 1, "found `include \"other\"`"),
    ("@[1] \"alias\"", 1, "found `@[1] \"alias\"`"),
    ("Switch \"S1\"", 1, "expected the number of ports, found `\"S1\"`"),
    ("Switch 255 \"S1\"", 1, "the number of ports is 255; use 1 to 254"),
    ("Ca 0 \"H1\"", 1, "the number of ports is 0"),
    ("Ca 1 H1", 1, "expected the node's id in quotes, found `H1`"),
    ("Ca 1 \"H1", 1, "expected the node's id in quotes, found `\"H1`"),
    ("Ca 1 \"\"", 1, "expected the node's id in quotes"),
    ("Ca 1 \"H1\" host", 1, "expected the end of the line or a comment, found `host`"),
    ("Ca 1 \"H1\"\n\nCa 2 \"H1\"", 3, "the id `H1` belongs to the node of line 1"),
    ("Ca 1 \"H\" # \"0123456789012345678901234567890123456789012345678901234567890123x\"", 1, "has 65 bytes"),
    ("[1] \"S1\"[1]", 1, "cannot assign the port to a node"),
    ("Ca 1 \"H1\"\n\n[1] \"S1\"[1]", 3, "cannot assign the port to a node"),
    ("Ca 1 \"H1\"\n[2] \"H1\"[1]", 2, "the port is 2; use one of the node's ports"),
    ("Ca 1 \"H1\"\n[0] \"H1\"[1]", 2, "the port is 0"),
    ("Ca 1 \"H1\"\n[1 \"H1\"[1]", 2, "expected a port number in brackets, found `[1 \"H1\"[1]`"),
    ("Ca 1 \"H1\"\n[1](12 \"H1\"[1]", 2, "expected `)`"),
    ("Ca 1 \"H1\"\n[1]", 2, "expected the id of the other node in quotes, found ``"),
    ("Ca 1 \"H1\"\n[1] \"H1\"[1] x=1", 2, "expected w=, s=, e= or a comment, found `x=1`"),
    ("Ca 1 \"H1\"\n[1] \"H1\"[1] w=32", 2, "the mask of widths is 32; use 1 to 31"),
    ("Ca 1 \"H1\"\n[1] \"H1\"[1] s=8", 2, "the mask of speeds is 8"),
    ("Ca 1 \"H1\"\n[1] \"H1\"[1] e=16", 2, "the mask of extended speeds is 16"),
    ("Ca 1 \"H1\"\n[1] \"H2\"[1]", 2, "the unknown node `H2`"),
    ("Ca 1 \"H1\"\n[1] \"H2\"[2]\n\nCa 1 \"H2\"", 2, "port 2 of `H2`"),
    ("Ca 1 \"H1\"\n[1] \"H2\"[0]\n\nCa 1 \"H2\"", 2, "port 0 of `H2`"),
    ("Ca 1 \"H1\"\n[1] \"H2\"[257]\n\nCa 1 \"H2\"", 2, "port 257 of `H2`"),
    ("Ca 1 \"H1\"\n[1] \"H2\"[1]\n\nCa 1 \"H2\"", 2, "does not lead back"),
    ("Ca 1 \"H1\"\n[1] \"H2\"[1]\n\nCa 2 \"H2\"\n[1] \"H2\"[2]\n[2] \"H2\"[1]", 2, "does not lead back"),
    ("Ca 2 \"H1\"\n[1] \"H1\"[2]\n[1] \"H1\"[2]", 3, "port 1 already has a cable"),
    ("Ca 2 \"H1\"\n[1] \"H1\"[2] w=1\n[2] \"H1\"[1] w=2", 2, "no width and speed in common"),
    ("caguid=0\n", 1, "the GUID is 0"),
    ("caguid=0xffffffffffffff02", 1, "the GUID is 18446744073709551362"),
    ("caguid=0x10000000000000000", 1, "expected a number"),
    ("caguid=0x12 34", 1, "expected the end of the line or a comment, found `34`"),
    ("vendid=0x1000000", 1, "the vendor id is 16777216; use 24 bits"),
    ("devid=0x10000", 1, "the device id is 65536"),
    ("caguid=16\nCa 3 \"A\"\n\ncaguid=16\nCa 1 \"B\"", 5, "0x0000000000000010 belongs to the node of line 2"),
    ("caguid=16\nCa 3 \"A\"\n\ncaguid=18\nCa 1 \"B\"", 5, "0x0000000000000013 belongs to the node of line 2"),
    ("caguid=16\nCa 3 \"A\"\n\nswitchguid=17\nSwitch 1 \"B\"", 5, "0x0000000000000011 belongs"),
];

#[test]
fn faulty_line_is_refused_with_its_number() {
    for (text, line, message) in FAULTY {
        let error = Topology::parse(text).expect_err(text);
        assert_eq!(error.line, *line, "{text:?}: {error}");
        assert!(error.to_string().contains(message), "{text:?}: {error}");
    }
}

/// Generates fabrics: nodes with ports, and cables between ports without one.
fn any_topology() -> impl Strategy<Value = Topology> {
    let nodes =
        prop::collection::vec((any::<bool>(), 1_usize..6, any::<Option<(u32, u16)>>(), "[ -~&&[^\"]]{0,20}"), 1..8);
    let cables = prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..12);
    let abilities = (1_u8..32, 1_u8..8, 0_u8..16);
    (nodes, cables, abilities).prop_map(|(nodes, cables, (widths, speeds, speeds_ext))| {
        let mut topology = Topology::default();
        for (index, (switch, ports, ids, name)) in nodes.into_iter().enumerate() {
            let id = format!("node {index}");
            let guid = guids::from_name(&id);
            topology.nodes.push(Node {
                kind: if switch { Kind::Switch } else { Kind::Host },
                description: name,
                guid,
                system_image_guid: Guid::new(guid.get() ^ 0xff),
                vendor_id: ids.map(|(vendor, _)| vendor >> 8),
                device_id: ids.map(|(_, device)| device),
                ports: vec![Port { peer: None, abilities: Abilities::default() }; ports],
                id,
            });
        }
        let mut free: Vec<PortRef> = Vec::new();
        for (node, ports) in topology.nodes.iter().map(|node| node.ports.len()).enumerate() {
            free.extend((1..=ports).map(|port| PortRef { node, port: PortNum::new(u8::try_from(port).unwrap()) }));
        }
        for (a, b) in cables {
            if free.len() < 2 {
                break;
            }
            let a = free.swap_remove(a.index(free.len()));
            let b = free.swap_remove(b.index(free.len()));
            for (from, to) in [(a, b), (b, a)] {
                let abilities = Abilities { widths, speeds, speeds_ext };
                topology.nodes[from.node].ports[usize::from(from.port.get()) - 1] = Port { peer: Some(to), abilities };
            }
        }
        topology
    })
}

/// Page of the book about topology files.
const PAGE: &str = include_str!("../../../book/src/topology.md");

/// Returns the texts in the page's fences with the tag `tag`.
fn fences(tag: &str) -> Vec<&'static str> {
    let start = format!("```{tag}\n");
    let fences = PAGE.split(start.as_str()).skip(1);
    fences.map(|rest| rest.split_once("```").expect("the end of the fence").0).collect()
}

#[test]
fn netlists_of_the_page_are_parsed() {
    let topologies: Vec<_> = fences("netlist").iter().map(|text| Topology::parse(text).unwrap()).collect();
    let [default, discovered, ibsim] = &topologies[..] else { panic!("{} netlists", topologies.len()) };
    assert_eq!(*default, Topology::parse(DEFAULT).unwrap());
    assert_eq!(discovered.nodes[0].description, "S1");
    assert_eq!(discovered.nodes[0].ports[0].abilities, Abilities { widths: 3, speeds: 7, speeds_ext: 3 });
    assert_eq!(discovered.nodes[1].vendor_id, Some(0x52_5400));
    assert_eq!(ibsim.nodes[0].description, "the first host");
    assert_eq!(ibsim.nodes[1].ports[0].abilities, Abilities { widths: 1, speeds: 1, speeds_ext: 0 });
}

#[test]
fn refused_netlists_of_the_page_are_refused() {
    let refused = fences("refused");
    assert_eq!(refused.len(), 5);
    for text in refused {
        assert!(Topology::parse(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn written_netlist_parses_to_the_same_topology(topology in any_topology()) {
        let text = topology.to_string();
        prop_assert_eq!(Topology::parse(&text), Ok(topology), "{}", text);
    }

    #[test]
    fn parser_of_any_text_does_not_panic(
        lines in prop::collection::vec("(Switch|Ca|\\[|vendid=|caguid=|#)?[ 0-9\"\\[\\]()=#wsex]{0,20}", 0..8),
    ) {
        let _ = Topology::parse(&lines.join("\n"));
    }
}
