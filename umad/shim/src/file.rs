//! Open umad files and the messages that wait to be read.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{Errno, dup, fcntl_dupfd_cloexec, read, write};
use umad_protocol::MAD_LEN;
use zerocopy::byteorder::U32;
use zerocopy::{FromZeros, IntoBytes};

use crate::abi::UserMadHeader;
use crate::agents::FileId;
use crate::port::Message;

/// Open umad file. Its descriptor is an eventfd that is readable while a message waits, so that poll, select and epoll
/// work on it.
#[derive(Debug)]
pub(crate) struct UmadFile {
    pub(crate) id: FileId,
    /// The library's own descriptor of the eventfd: the program may close its own at any time.
    event: OwnedFd,
    queue: Mutex<VecDeque<Message>>,
    has_p_key: AtomicBool,
    has_agents: AtomicBool,
}

impl UmadFile {
    /// Opens a file, and the descriptor for the program.
    ///
    /// # Errors
    ///
    /// The system refuses a descriptor.
    pub(crate) fn open(id: FileId, flags: OFlags) -> Result<(Self, OwnedFd), Errno> {
        let nonblocking = if flags.contains(OFlags::NONBLOCK) { EventfdFlags::NONBLOCK } else { EventfdFlags::empty() };
        let event = eventfd(0, nonblocking | EventfdFlags::CLOEXEC)?;
        let theirs = if flags.contains(OFlags::CLOEXEC) { fcntl_dupfd_cloexec(&event, 0) } else { dup(&event) }?;
        let (queue, has_p_key, has_agents) = (Mutex::default(), AtomicBool::default(), AtomicBool::default());
        Ok((Self { id, event, queue, has_p_key, has_agents }, theirs))
    }

    /// Adds the P_Key index to the header of reads and writes.
    ///
    /// # Errors
    ///
    /// EINVAL if the file has had agents.
    pub(crate) fn enable_p_key(&self) -> Result<(), Errno> {
        if self.has_agents.load(Ordering::Relaxed) {
            return Err(Errno::INVAL);
        }
        self.has_p_key.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Notes that the file has had agents. `knows_p_key`: their registration implies the P_Key index.
    pub(crate) fn had_agent(&self, knows_p_key: bool) {
        if !self.has_agents.swap(true, Ordering::Relaxed) && knows_p_key {
            self.has_p_key.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the bytes of the header before each MAD.
    fn header_len(&self) -> usize {
        if self.has_p_key.load(Ordering::Relaxed) { UserMadHeader::LEN } else { UserMadHeader::LEN_WITHOUT_P_KEY }
    }

    /// Splits a program's write into header and MAD.
    ///
    /// # Errors
    ///
    /// EINVAL if it is shorter than the header.
    pub(crate) fn parse<'a>(&self, bytes: &'a [u8]) -> Result<(UserMadHeader, &'a [u8]), Errno> {
        let (front, mad) = bytes.split_at_checked(self.header_len()).ok_or(Errno::INVAL)?;
        let mut header = UserMadHeader::new_zeroed();
        header.as_mut_bytes()[..front.len()].copy_from_slice(front);
        Ok((header, mad))
    }

    /// Appends a message to those that wait to be read.
    pub(crate) fn push(&self, message: Message) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(message);
        if queue.len() == 1 {
            // The counter is 0 here, so there is room for 1.
            let _ = write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    /// Reads the next message as `read` of the program: waits for one unless the file is non-blocking.
    ///
    /// # Errors
    ///
    /// EAGAIN if no message waits; EINTR after a signal; EINVAL if `buffer` cannot hold one MAD; ENOSPC if it cannot
    /// hold the message: it then has the first MAD, and the header the length of the whole.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match self.try_read(buffer) {
                Err(Errno::AGAIN) if !fcntl_getfl(&self.event)?.contains(OFlags::NONBLOCK) => {
                    poll(&mut [PollFd::new(&self.event, PollFlags::IN)], None)?;
                }
                result => return result,
            }
        }
    }

    fn try_read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let message = queue.front().ok_or(Errno::AGAIN)?;
        let header_len = self.header_len();
        let length = header_len + message.mad.len();
        let least = header_len + message.mad.len().min(MAD_LEN);
        if buffer.len() < least {
            return Err(Errno::INVAL);
        }
        let mut header = message.header;
        header.length = U32::new(length.try_into().unwrap_or(u32::MAX));
        buffer[..header_len].copy_from_slice(&header.as_bytes()[..header_len]);
        if buffer.len() < length {
            buffer[header_len..least].copy_from_slice(&message.mad[..MAD_LEN]);
            return Err(Errno::NOSPC);
        }
        buffer[header_len..length].copy_from_slice(&message.mad);
        queue.pop_front();
        if queue.is_empty() {
            // The counter is 1 here, so this does not wait.
            let _ = read(&self.event, &mut [0; 8]);
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize) -> Message {
        Message { header: UserMadHeader::default(), mad: vec![9; len] }
    }

    fn file() -> (UmadFile, OwnedFd) {
        let (file, fd) = UmadFile::open(FileId(0), OFlags::NONBLOCK).unwrap();
        file.enable_p_key().unwrap();
        (file, fd)
    }

    fn is_readable(fd: &OwnedFd) -> bool {
        poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&Default::default())).unwrap() == 1
    }

    #[test]
    fn descriptor_is_readable_while_a_message_waits() {
        let (file, fd) = file();
        assert!(!is_readable(&fd));
        assert_eq!(file.read(&mut [0; 400]), Err(Errno::AGAIN));
        file.push(message(256));
        file.push(message(256));
        assert!(is_readable(&fd));
        assert_eq!(file.read(&mut [0; 400]), Ok(320));
        assert!(is_readable(&fd));
        assert_eq!(file.read(&mut [0; 400]), Ok(320));
        assert!(!is_readable(&fd));
    }

    #[test]
    fn message_stays_until_the_buffer_has_room() {
        let (file, _fd) = file();
        file.push(message(1000));
        assert_eq!(file.read(&mut [0; 319]), Err(Errno::INVAL));
        let mut buffer = [0; 320];
        assert_eq!(file.read(&mut buffer), Err(Errno::NOSPC));
        assert_eq!(buffer[16..20], 1064_u32.to_ne_bytes(), "bytes of the whole message");
        assert_eq!(buffer[64..], [9; 256]);
        assert_eq!(file.read(&mut [0; 1064]), Ok(1064));
    }

    #[test]
    fn header_without_p_key_index_is_shorter() {
        let (file, _fd) = UmadFile::open(FileId(0), OFlags::NONBLOCK).unwrap();
        file.had_agent(false);
        assert_eq!(file.enable_p_key(), Err(Errno::INVAL), "too late");
        file.push(message(256));
        assert_eq!(file.read(&mut [0; 312]), Ok(312));
        assert_eq!(file.parse(&[0; 300]).unwrap().1.len(), 244);
    }

    #[test]
    fn blocking_read_waits_for_a_message() {
        let (file, _fd) = UmadFile::open(FileId(0), OFlags::empty()).unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| file.read(&mut [0; 400]));
            file.push(message(256));
            assert_eq!(reader.join().unwrap(), Ok(312));
        });
    }
}
