//! Capture of the packets on cables, for Wireshark and tshark: pcap with link type ERF, from which tshark 4.0 reads
//! InfiniBand.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use zerocopy::byteorder::big_endian::U16;
use zerocopy::byteorder::little_endian::U64;
use zerocopy::{Immutable, IntoBytes, Unaligned};

/// Bytes in memory at which the capture is written out.
const BUFFER: usize = 64 << 10;
/// Longest record in the file's header, in bytes.
const SNAP_LENGTH: u32 = 0xffff;
const LINK_TYPE_ERF: u32 = 197;
const ERF_TYPE_INFINIBAND: u8 = 21;
/// Bytes of an [`ErfHeader`].
const ERF_HEADER: u16 = 16;
/// Varying record length.
const ERF_FLAGS: u8 = 0x04;

#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct ErfHeader {
    /// Seconds since 1970 as a fixed-point number, 32 bits each side of the point.
    timestamp: U64,
    kind: u8,
    flags: u8,
    record_length: U16,
    loss: U16,
    wire_length: U16,
}

const _: () = assert!(size_of::<ErfHeader>() == ERF_HEADER as usize);

/// Capture file.
///
/// Each write to the file is of whole records: so the file of a killed process is readable to its end.
#[derive(Debug)]
pub struct Capture {
    file: File,
    buffer: Vec<u8>,
}

impl Capture {
    /// Creates the file at `path`, or empties it.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut header = Vec::new();
        header.extend(0xa1b2_3c4d_u32.to_ne_bytes()); // pcap with nanoseconds, in this machine's byte order
        header.extend(2_u16.to_ne_bytes());
        header.extend(4_u16.to_ne_bytes());
        header.extend([0; 8]); // time zone, accuracy of timestamps
        header.extend(SNAP_LENGTH.to_ne_bytes());
        header.extend(LINK_TYPE_ERF.to_ne_bytes());
        let mut file = File::create(path)?;
        file.write_all(&header)?;
        Ok(Self { file, buffer: Vec::with_capacity(2 * BUFFER) })
    }

    /// Records a packet, LRH through VCRC, given in parts. [`Capture::flush`] writes it to the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn record(&mut self, time: SystemTime, parts: [&[u8]; 2]) -> io::Result<()> {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, nanos) = (since_epoch.as_secs(), since_epoch.subsec_nanos());
        let Ok(length) = u16::try_from(usize::from(ERF_HEADER) + parts[0].len() + parts[1].len()) else {
            return Ok(()); // no packet is that long
        };
        let erf = ErfHeader {
            timestamp: ((seconds << 32) + (u64::from(nanos) << 32) / 1_000_000_000).into(),
            kind: ERF_TYPE_INFINIBAND,
            flags: ERF_FLAGS,
            record_length: length.into(),
            loss: 0.into(),
            wire_length: (length - ERF_HEADER).into(),
        };
        #[expect(clippy::cast_possible_truncation, reason = "pcap's seconds are 32 bits wide, until 2106")]
        for word in [seconds as u32, nanos, u32::from(length), u32::from(length)] {
            self.buffer.extend(word.to_ne_bytes());
        }
        self.buffer.extend(erf.as_bytes());
        self.buffer.extend(parts[0]);
        self.buffer.extend(parts[1]);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Writes the recorded packets to the file.
    ///
    /// # Errors
    /// The file cannot be written. The recorded packets are lost.
    pub fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::super::frame;
    use super::*;

    /// Returns a SubnGet(NodeInfo) by directed route, LRH through payload.
    fn smp() -> Vec<u8> {
        let mut packet = vec![0; 284];
        packet[..8].copy_from_slice(&[0xf0, 0x02, 0xff, 0xff, 0, 72, 0xff, 0xff]);
        packet[8..12].copy_from_slice(&[0x64, 0, 0xff, 0xff]);
        packet[28..32].copy_from_slice(&[1, 0x81, 1, 1]);
        packet[28 + 17] = 0x11;
        packet
    }

    #[test]
    fn capture_is_read_by_tshark_without_malformed_packets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.pcap");
        let mut capture = Capture::create(&path).unwrap();
        let (packet, time) = (smp(), UNIX_EPOCH + Duration::new(1_700_000_000, 250_000_000));
        capture.record(time, [&packet, &frame::crcs(&packet)]).unwrap();
        capture.record(time, [&packet, &frame::crcs(&packet)]).unwrap();
        capture.flush().unwrap();
        let fields = ["frame.time_epoch", "infiniband.lrh.vl", "infiniband.mad.attributeid", "_ws.malformed"];
        let output = Command::new("tshark")
            .arg("-r")
            .arg(&path)
            .args(["-T", "fields", "-E", "separator=,"])
            .args(fields.iter().flat_map(|field| ["-e", field]))
            .output()
            .expect("tshark is installed");
        let line = "1700000000.250000000,0x0f,0x0011,\n";
        assert_eq!(String::from_utf8_lossy(&output.stdout), line.repeat(2), "{output:?}");
    }
}
