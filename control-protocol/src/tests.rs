//! Round trips, refused lines, and the examples of the book.

use proptest::prelude::*;

use crate::*;

const BOOK: &str = include_str!("../../book/src/control-line.md");

/// Returns the lines of the book's code blocks in the language `language`.
fn examples(language: &str) -> Vec<&'static str> {
    let start = format!("```{language}");
    let mut is_inside = false;
    let mut found = Vec::new();
    for line in BOOK.lines() {
        match line {
            _ if line == start => is_inside = true,
            "```" => is_inside = false,
            _ if is_inside => found.push(line),
            _ => {}
        }
    }
    found
}

#[test]
fn each_request_of_the_book_is_parsed_and_formatted() {
    let lines = examples("request");
    for line in &lines {
        let request = Request::parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(request.to_string(), *line);
    }
    for verb in
        ["version", "list", "status", "status ", "digest ", "port ", "start ", "stop ", "restart ", "add ", "remove "]
    {
        let is_it = |line: &&str| if verb.ends_with(' ') { line.starts_with(verb) } else { *line == verb };
        assert!(lines.iter().any(is_it), "the book has no example of {verb}");
    }
}

#[test]
fn each_answer_of_the_book_is_parsed_and_formatted() {
    let lines = examples("answer");
    for line in &lines {
        let parsed = AnswerLine::parse(line).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(parsed.to_string(), *line);
    }
    let kinds = [
        "version",
        "partition",
        "because",
        "port",
        "hca",
        "uplink",
        "qp0",
        "drops",
        "lhca-drops",
        "credits",
        "held",
        "free",
        "exits",
        "digest",
        "ok",
        "error:",
    ];
    for kind in kinds {
        let is_it = |line: &&str| line.split(' ').next() == Some(kind);
        assert!(lines.iter().any(is_it), "the book has no example of {kind}");
    }
}

#[test]
fn book_states_the_limits_and_the_version() {
    assert!(BOOK.contains(&format!("{MAX_LINE} bytes")));
    assert!(BOOK.contains(&format!("version of this page is {VERSION}")));
    assert!(BOOK.contains(&format!("`SOCKET{SOCKET_INFIX}HYPERVISOR`")));
}

#[test]
fn malformed_request_is_refused() {
    for line in ["", "port", "port 2", "list all", "say x", "port 1 sideways"] {
        assert_eq!(Request::parse(line), Err(RequestError::Unknown), "{line:?}");
    }
    for port in ["x", "1/", "/1", "256", "1/2/3"] {
        assert_eq!(Request::parse(&format!("port {port} up")), Err(RequestError::Port(port)));
    }
    for line in ["stop", "digest ", "remove"] {
        assert_eq!(Request::parse(line), Err(RequestError::Name("")), "{line:?}");
    }
    for line in ["add", "add 0", "add 0x", "add 00 ", "add +0"] {
        let is_row = Request::parse(line) != Err(RequestError::Row);
        assert_eq!(is_row, line == "add 00 ", "{line:?}");
    }
}

#[test]
fn malformed_answer_is_refused_with_the_line() {
    for line in [
        "",
        "okay",
        "what 1",
        "partition running",
        "partition none starts 1 qp0 none name a",
        "port 1 at 1/2 guid 0x02 lid 4 state Awake cable in",
        "port 1 at 1/2 guid 02 lid 4 state Down cable in",
        "free memory 1 2",
        "free memory -1",
        "hca absent now",
    ] {
        assert_eq!(AnswerLine::parse(line), Err(UnknownLine(line)));
    }
}

fn word<T: Copy + std::fmt::Debug + 'static>(variants: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(variants)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn request_round_trips(
        kind in 0..11_usize,
        name in "[!-~]([ -~]{0,62}[!-~])?",
        (uplink, port) in (any::<u8>(), any::<u8>()),
        direction in word(LinkStatus::VARIANTS),
        row in proptest::collection::vec(any::<u8>(), 1..500),
    ) {
        let name = name.as_str();
        let request = [
            Request::Version,
            Request::List,
            Request::Status,
            Request::LhcaStatus(name),
            Request::Digest(name),
            Request::Port(Place { uplink, port }, direction),
            Request::Start(name),
            Request::Stop(name),
            Request::Restart(name),
            Request::Add(Row::packed(&row)),
            Request::Remove(name),
        ][kind];
        let line = request.to_string();
        prop_assert!(line.len() <= MAX_LINE);
        prop_assert_eq!(Request::parse(&line), Ok(request));
    }

    #[test]
    fn answer_round_trips(
        kind in 0..17_usize,
        (name, reason, image) in ("[!-~]([ -~]{0,62}[!-~])?", "[ -~]{0,80}", "[a-z0-9-]{1,32}"),
        (n, held) in any::<([u64; 5], [usize; 6])>(),
        (a, b, c) in any::<(u8, u8, u16)>(),
        (x, y) in any::<(u32, u32)>(),
        state in word(PartitionState::VARIANTS),
        (port_state, link, cable) in
            (word(PortState::VARIANTS), word(LinkStatus::VARIANTS), word(Cable::VARIANTS)),
    ) {
        let [n0, n1, n2, n3, n4] = n;
        let [h0, h1, h2, h3, h4, h5] = held;
        let program = (state != PartitionState::Absent).then_some(Program { starts: x, memory: y, image: &image });
        let at = Place { uplink: a, port: b };
        let line = match kind {
            0 => AnswerLine::End(Ending::Done),
            1 => AnswerLine::End(Ending::Refused(&reason)),
            _ => AnswerLine::Record([
                Record::HcaAbsent,
                Record::Because(&reason),
                Record::Version(Version { version: x }),
                Record::Partition(Partition { state, program, qp0: "query", name: &name }),
                Record::Port(Port { number: a, at, guid: Guid(n0), lid: c, state: port_state, cable }),
                Record::Hca(Hca { generation: x, ports: c }),
                Record::Uplink(Uplink { number: a, link, state: port_state, switch: Guid(n0), lid: c }),
                Record::Qp0(Qp0 {
                    uplink: a, received: n0, looped_back: n1, routed_out: n2, answered: n3, delivered: n4,
                }),
                Record::Drops(Drops { slots: n0, undelivered: n1, unsent: n2 }),
                Record::LhcaDrops(LhcaDrops { refused: n0, no_queue_pair: n1, no_room: n2, bad_key: n3 }),
                Record::Credits(Credits {
                    uplink: a, qp0_send: x, qp0_receive: y, packet_send: y, packet_receive: x,
                }),
                Record::HeldObjects(HeldObjects {
                    lhcas: h0, queue_pairs: h1, completion_queues: h2, event_queues: h3, memory_regions: h4, attachments: h5,
                }),
                Record::FreeMemory(FreeMemory { memory: n0 }),
                Record::Exits(Exits { doorbells: n0, calls: n1, halts: n2, interrupts: n3, others: n4 }),
                Record::Digest(Digest { checksum: Checksum(n0), bytes: n1 }),
            ][kind - 2]),
        };
        let text = line.to_string();
        prop_assert_eq!(AnswerLine::parse(&text), Ok(line));
    }

    #[test]
    fn arbitrary_line_is_parsed_without_panic(line in "[ -~é]{0,120}") {
        let _ = Request::parse(&line);
        let _ = AnswerLine::parse(&line);
    }
}
