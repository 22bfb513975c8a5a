use std::time::Duration;

use iba::mad::{Class, MadHeader, Method};
use iba::rmpp::{RmppHeader, RmppStatus, RmppType};
use umad_protocol::MAD_LEN;
use zerocopy::byteorder::U16;
use zerocopy::{FromBytes, FromZeros};

use super::*;
use crate::agents::Filter;

const FILE: FileId = FileId(1);
const SA: Class = Class::SUBN_ADM;
const PEER: u16 = 7;
const GET_TABLE: Method = Method::new(0x12);
const GET_TABLE_RESP: Method = Method::new(0x92);
const HEADERS: usize = 56;

/// Output of a port.
#[derive(Default)]
struct Out {
    sent: Vec<Datagram>,
    read: Vec<(FileId, Message)>,
}

impl Outlet for Out {
    fn transmit(&mut self, datagram: Datagram) {
        self.sent.push(datagram);
    }

    fn deliver(&mut self, file: FileId, message: Message) {
        self.read.push((file, message));
    }
}

/// A port with one agent of `class` for `methods`, and its output.
struct Bench {
    port: Port,
    out: Out,
    now: Instant,
}

impl Bench {
    fn new(class: Class, rmpp_version: u8, methods: u128) -> Self {
        let mut port = Port::new(0);
        let filter = Filter::new(class, 2, [0; 3], methods);
        let qpn = u32::from(class == SA);
        let id = port.register(FILE, Registration::new(qpn, filter, rmpp_version, false).unwrap()).unwrap();
        assert_eq!(id, 0);
        Self { port, out: Out::default(), now: Instant::now() }
    }

    fn send(&mut self, timeout_ms: u32, retries: u32, mad: &[u8]) -> Result<(), Errno> {
        let mut header = UserMadHeader::new_zeroed();
        header.timeout_ms = U32::new(timeout_ms);
        header.retries = U32::new(retries);
        header.lid = U16::new(PEER);
        header.qpn.set(1);
        self.port.send(self.now, FILE, header, mad, &mut self.out)
    }

    fn receive(&mut self, mad: [u8; MAD_LEN]) {
        self.port.receive(self.now, &Datagram::new(PEER, 1, 1, 1, mad), &mut self.out);
    }

    /// Advances the time, and returns the time from then to the next deadline.
    fn wait(&mut self, time: Duration) -> Option<Duration> {
        self.now += time;
        self.port.poll(self.now, &mut self.out).map(|next| next - self.now)
    }

    fn sent(&mut self) -> Vec<RmppMad> {
        self.out.sent.drain(..).map(|datagram| zerocopy::transmute!(datagram.mad)).collect()
    }

    fn read(&mut self) -> Vec<Message> {
        self.out.read.drain(..).map(|(_, message)| message).collect()
    }
}

fn mad(class: Class, method: Method, tid: u64) -> [u8; MAD_LEN] {
    let mut mad = Mad::new_zeroed();
    mad.header.base_version = MadHeader::BASE_VERSION;
    mad.header.class = class;
    mad.header.class_version = 2;
    mad.header.method = method;
    mad.header.transaction_id = tid.into();
    zerocopy::transmute!(mad)
}

/// Returns the SA's response to a request.
fn response_to(sent: &RmppMad) -> [u8; MAD_LEN] {
    let mut response = *sent;
    response.header.method = Method::new(sent.header.method.get() | 0x80);
    // A server's own mark, which no program may see.
    response.header.transaction_id = (sent.header.transaction_id.get() | 0xabcd << 48).into();
    zerocopy::transmute!(response)
}

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn response_is_delivered_once() {
    let mut bench = Bench::new(SA, 1, 0);
    bench.send(100, 3, &mad(SA, Method::GET, 0x1234_5678_9abc_def0)).unwrap();
    let sent = bench.sent()[0];
    let tid = sent.header.transaction_id.get();
    assert_eq!(tid & 0xffff_ffff, 0x9abc_def0);
    assert_eq!(tid >> 48, 0, "left to the server");
    assert_ne!(tid >> 32, 0x1234_5678, "the agent's own");
    bench.receive(response_to(&sent));
    let read = bench.read();
    assert_eq!(read[0].header.status.get(), 0);
    assert_eq!(read[0].header.lid.get(), PEER);
    let header = MadHeader::ref_from_prefix(&read[0].mad).unwrap().0;
    assert_eq!(header.transaction_id.get(), tid);
    assert_eq!(read[0].mad.len(), MAD_LEN);
    bench.receive(response_to(&sent));
    assert!(bench.read().is_empty(), "no request waits for a second response");
    assert_eq!(bench.wait(MS(1000)), None);
    assert!(bench.sent().is_empty());
}

#[test]
fn request_without_a_response_is_sent_again_and_then_reported() {
    let mut bench = Bench::new(SA, 1, 0);
    bench.send(100, 2, &mad(SA, Method::GET, 5)).unwrap();
    let first = bench.sent();
    assert_eq!(bench.wait(MS(99)), Some(MS(1)));
    assert!(bench.sent().is_empty());
    for _ in 0..2 {
        bench.wait(MS(100));
        assert_eq!(bench.sent(), first);
        assert!(bench.read().is_empty());
    }
    assert_eq!(bench.wait(MS(100)), None);
    let read = bench.read();
    assert_eq!(read[0].header.status.get(), 110);
    assert_eq!(read[0].mad, first[0].as_bytes()[..24], "the header of the request, marked as it was sent");
    bench.receive(response_to(&first[0]));
    assert!(bench.read().is_empty(), "too late");
}

#[test]
fn request_that_comes_back_is_sent_again_at_once() {
    let mut bench = Bench::new(SA, 1, 0);
    bench.send(100, 1, &mad(SA, Method::GET, 5)).unwrap();
    for _ in 0..2 {
        let mut back = bench.out.sent.pop().unwrap();
        back.status = umad_protocol::TIMED_OUT.into();
        bench.port.receive(bench.now, &back, &mut bench.out);
    }
    assert_eq!(bench.read()[0].header.status.get(), 110);
    assert_eq!(bench.wait(MS(1000)), None);
}

#[test]
fn transaction_under_way_is_refused() {
    let mut bench = Bench::new(SA, 1, 0);
    bench.send(100, 0, &mad(SA, Method::GET, 5)).unwrap();
    assert_eq!(bench.send(100, 0, &mad(SA, Method::GET, 5)), Err(Errno::INVAL));
    bench.send(100, 0, &mad(SA, Method::GET, 6)).unwrap();
    bench.wait(MS(100));
    bench.send(100, 0, &mad(SA, Method::GET, 5)).unwrap();
}

#[test]
fn impossible_mads_are_refused() {
    let mut bench = Bench::new(SA, 1, 0);
    assert_eq!(bench.send(0, 0, &[0; 35]), Err(Errno::INVAL));
    assert_eq!(bench.send(0, 0, &[0; 257]), Err(Errno::INVAL), "long, but not of RMPP");
    bench.port.unregister(FILE, 0).unwrap();
    assert_eq!(bench.send(0, 0, &mad(SA, Method::GET, 5)), Err(Errno::INVAL), "no agent");
}

#[test]
fn send_without_timeout_has_no_deadline() {
    let mut bench = Bench::new(SA, 1, 0);
    bench.send(0, 3, &mad(SA, Method::GET, 5)).unwrap();
    let sent = bench.sent()[0];
    assert_eq!(bench.wait(MS(10_000)), None);
    bench.receive(response_to(&sent));
    assert!(bench.read().is_empty());
}

#[test]
fn mad_of_an_unregistered_class_is_dropped() {
    let mut bench = Bench::new(SA, 1, 1 << 6);
    bench.receive(mad(Class::new(0x32), Method::GET, 5));
    bench.receive(mad(SA, Method::GET, 5));
    bench.receive(mad(SA, Method::GET_RESP, 5 << 32));
    assert!(bench.read().is_empty());
    bench.receive(mad(SA, Method::REPORT, 0x1234_5678_9abc_def0));
    let read = bench.read();
    let header = MadHeader::ref_from_prefix(&read[0].mad).unwrap().0;
    assert_eq!(header.transaction_id.get(), 0x1234_5678_9abc_def0, "a requester's, left as it is");
}

#[test]
fn trap_repress_keeps_its_transaction() {
    let mut bench = Bench::new(SA, 1, 0);
    bench.send(0, 0, &mad(SA, Method::TRAP_REPRESS, 0x1234_5678_9abc_def0)).unwrap();
    assert_eq!(bench.sent()[0].header.transaction_id.get(), 0x1234_5678_9abc_def0);
}

/// Returns a message of `len` bytes of data, as a program writes it.
fn table(len: usize, method: Method) -> Vec<u8> {
    let mut first: RmppMad = zerocopy::transmute!(mad(SA, method, 0x0003_0000_0001));
    first.rmpp.set_active(true);
    let mut message = first.as_bytes()[..HEADERS].to_vec();
    message.extend((0..=u8::MAX).cycle().take(len));
    message
}

/// Returns an ACK for `segment`.
fn ack(segment: &RmppMad, last: u32, window: u32) -> [u8; MAD_LEN] {
    let ack = rmpp::answer(segment, HEADERS, RmppType::ACK, RmppStatus::NORMAL, last, window);
    zerocopy::transmute!(ack)
}

/// Creates a bench whose agent is an SA that takes requests for tables.
fn sa() -> Bench {
    Bench::new(SA, 1, 1 << 0x12)
}

#[test]
fn long_response_is_sent_window_by_window() {
    let mut bench = sa();
    bench.send(0, 3, &table(2000, GET_TABLE_RESP)).unwrap();
    let first = bench.sent();
    assert_eq!(first.len(), 1);
    bench.receive(ack(&first[0], 1, 4));
    let window = bench.sent();
    assert_eq!(window.len(), 3);
    bench.receive(ack(&window[2], 4, 10));
    let rest = bench.sent();
    assert_eq!(rest.len(), 6);
    assert!(rest[5].rmpp.is_last());
    bench.receive(ack(&rest[5], 10, 20));
    assert_eq!(bench.wait(MS(60_000)), None, "all is acknowledged");
    assert!(bench.sent().is_empty() && bench.read().is_empty());
}

#[test]
fn acknowledgement_is_for_the_response_to_its_sender() {
    let mut bench = sa();
    bench.send(0, 0, &table(1000, GET_TABLE_RESP)).unwrap();
    let first = bench.sent()[0];
    let stranger = Datagram::new(PEER + 1, 1, 1, 1, ack(&first, 1, 4));
    bench.port.receive(bench.now, &stranger, &mut bench.out);
    assert!(bench.sent().is_empty());
    bench.receive(ack(&first, 1, 4));
    assert_eq!(bench.sent().len(), 3);
}

#[test]
fn lost_segments_are_sent_again_after_two_seconds() {
    let mut bench = sa();
    bench.send(0, 1, &table(1000, GET_TABLE_RESP)).unwrap();
    let first = bench.sent();
    bench.receive(ack(&first[0], 1, 4));
    bench.sent();
    assert_eq!(bench.wait(MS(1999)), Some(MS(1)));
    bench.wait(MS(1));
    let again = bench.sent();
    assert_eq!(again[0].rmpp.segment.get(), 2);
    assert_eq!(again.len(), 3);
    bench.wait(MS(2000));
    assert_eq!(bench.read()[0].header.status.get(), 110, "the retries are used up");
}

#[test]
fn refused_response_ends_without_a_report() {
    let mut bench = sa();
    bench.send(0, 3, &table(1000, GET_TABLE_RESP)).unwrap();
    let first = bench.sent()[0];
    let abort = rmpp::answer(&first, HEADERS, RmppType::ABORT, RmppStatus::UNSPECIFIED, 0, 0);
    bench.receive(zerocopy::transmute!(abort));
    assert_eq!(bench.wait(MS(60_000)), None);
    assert!(bench.sent().is_empty() && bench.read().is_empty());
}

#[test]
fn impossible_acknowledgement_is_answered_by_an_abort() {
    let mut bench = sa();
    bench.send(0, 3, &table(1000, GET_TABLE_RESP)).unwrap();
    let first = bench.sent()[0];
    bench.receive(ack(&first, 3, 4));
    let abort = bench.sent()[0];
    assert_eq!((abort.rmpp.kind, abort.rmpp.status), (RmppType::ABORT, RmppStatus::SEGMENT_TOO_BIG));
    assert_eq!(abort.header.method, GET_TABLE_RESP);
    assert_eq!(bench.wait(MS(60_000)), None);
}

/// Returns the segments of an SA's response to `request`.
fn response_in_segments(request: &RmppMad, len: usize) -> Vec<RmppMad> {
    let mut response: RmppMad = zerocopy::transmute!(response_to(request));
    response.rmpp.set_active(true);
    let mut sender = rmpp::Sender::new(response, HEADERS, &table(len, GET_TABLE_RESP)[HEADERS..]).unwrap();
    let first = sender.next().unwrap();
    sender.acknowledge(1, u32::MAX);
    std::iter::once(first).chain(std::iter::from_fn(|| sender.next())).collect()
}

#[test]
fn response_in_segments_is_read_as_one_message() {
    let mut bench = Bench::new(SA, 1, 0);
    bench.send(1000, 3, &mad(SA, GET_TABLE, 5)).unwrap();
    let request = bench.sent()[0];
    let segments = response_in_segments(&request, 500);
    for segment in &segments {
        assert!(bench.read().is_empty());
        // A long response takes longer than the request would wait.
        bench.wait(MS(900));
        bench.receive(zerocopy::transmute!(*segment));
    }
    let acks = bench.sent();
    assert_eq!(acks.len(), 2, "of the first and of the last");
    assert!(acks.iter().all(|ack| ack.header.method == GET_TABLE && ack.rmpp.kind == RmppType::ACK));
    assert_eq!(acks[1].rmpp.segment.get(), 3);
    assert_eq!(acks[1].header.transaction_id, request.header.transaction_id);
    let read = bench.read();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].mad[HEADERS..], table(500, GET_TABLE_RESP)[HEADERS..]);
    // The acknowledgement was lost: the last segment comes again, and makes no new message.
    bench.receive(zerocopy::transmute!(segments[2]));
    assert_eq!(bench.sent().len(), 1);
    assert!(bench.read().is_empty());
    assert_eq!(bench.wait(MS(20_000)), None, "nothing is remembered for ever");
}

#[test]
fn message_that_never_ends_is_aborted() {
    let mut bench = Bench::new(SA, 1, 0);
    bench.send(1000, 0, &mad(SA, GET_TABLE, 5)).unwrap();
    let request = bench.sent()[0];
    bench.receive(zerocopy::transmute!(response_in_segments(&request, 500)[0]));
    bench.sent();
    bench.wait(MS(40_000));
    assert_eq!(bench.read()[0].header.status.get(), 110);
    let abort = bench.sent()[0];
    assert_eq!((abort.rmpp.kind, abort.rmpp.status), (RmppType::ABORT, RmppStatus::TOTAL_TIME_TOO_LONG));
}

#[test]
fn program_with_its_own_rmpp_reads_each_segment() {
    let mut bench = Bench::new(SA, 0, 0);
    bench.send(1000, 0, &mad(SA, GET_TABLE, 5)).unwrap();
    let request = bench.sent()[0];
    for segment in response_in_segments(&request, 500) {
        bench.receive(zerocopy::transmute!(segment));
    }
    assert_eq!(bench.read().len(), 3);
    assert!(bench.sent().is_empty());
}

#[test]
fn unknown_rmpp_version_or_type_is_answered_by_an_abort() {
    for (version, kind, status) in [
        (RmppHeader::VERSION + 1, RmppType::DATA, RmppStatus::BAD_VERSION),
        (RmppHeader::VERSION, RmppType::new(9), RmppStatus::BAD_TYPE),
    ] {
        let mut bench = Bench::new(SA, 1, 0);
        bench.send(1000, 0, &mad(SA, GET_TABLE, 5)).unwrap();
        let request = bench.sent()[0];
        let mut segment = response_in_segments(&request, 500)[0];
        segment.rmpp.version = version;
        segment.rmpp.kind = kind;
        bench.receive(zerocopy::transmute!(segment));
        assert_eq!(bench.sent()[0].rmpp.status, status);
        assert_eq!(bench.read()[0].header.status.get(), 110, "the request is over");
    }
}

#[test]
fn closed_file_has_no_transactions() {
    let mut bench = Bench::new(SA, 1, 0);
    bench.send(1000, 3, &mad(SA, GET_TABLE, 5)).unwrap();
    let request = bench.sent()[0];
    bench.receive(zerocopy::transmute!(response_in_segments(&request, 500)[0]));
    bench.sent();
    bench.port.close(FILE);
    assert_eq!(bench.wait(MS(60_000)), None);
    assert!(bench.sent().is_empty() && bench.read().is_empty());
}

#[test]
fn directed_route_has_permissive_lids() {
    let mut bench = Bench::new(Class::SUBN_DIRECTED_ROUTE, 0, 0);
    let mut header = UserMadHeader::new_zeroed();
    header.lid = U16::new(0xffff);
    let smp = mad(Class::SUBN_DIRECTED_ROUTE, Method::GET, 5);
    bench.port.send(bench.now, FILE, header, &smp, &mut bench.out).unwrap();
    let sent = bench.out.sent[0];
    assert_eq!((sent.dlid.get(), sent.slid.get(), sent.sqp.get(), sent.dqp.get()), (0xffff, 0xffff, 0, 0));
}
