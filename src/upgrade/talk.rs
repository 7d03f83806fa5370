//! What the old and the new process say to each other, over a pair of sockets, and the descriptors that go along. One
//! message is one word. What either makes of it is theirs to decide.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::sockets::Label;

/// What is said, in this order but for the last three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// Old: this socket goes along.
    Socket(Label),
    /// Old: where what is said to the operator goes.
    StandardError,
    /// Old: that was all of it.
    Begin,
    /// New: all is well but for the cache folder, which is still locked.
    Ready,
    /// Old: the folder is yours.
    Open,
    /// New: requests are answered.
    Serving {
        /// Of the program.
        version: String,
        /// Where commands are taken.
        control: Option<PathBuf>,
    },
    /// Old: the service manager knows you as the main process.
    Main,
    /// Old: so many connections use the link here, and in the processes before.
    Users(u32),
    /// New: this portion of the link is yours, in thousandths.
    Portion(u32),
    /// Old: the origin has changed this.
    Invalidate {
        /// The cache key.
        key: String,
    },
}

/// One end of the talk.
#[derive(Debug)]
pub(super) struct Talk(UnixStream);

/// Bytes of a message. A key is not longer than a request's head.
const LONGEST: usize = 256 * 1024;

impl Talk {
    /// Our end, and one that another process can have.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Messages keep their bounds, and each its descriptor.
        let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self::registered(pair.0)?, pair.1))
    }

    /// The end that another process gave us.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn over(end: OwnedFd) -> io::Result<Self> {
        if rustix::net::sockopt::socket_type(&end)? != SocketType::SEQPACKET {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Self::registered(end)
    }

    /// Says a word.
    ///
    /// # Errors
    /// If nobody hears it.
    pub(super) async fn say(&self, word: &Word) -> io::Result<()> {
        self.send(word, &[]).await
    }

    /// Says a word that a descriptor goes with.
    ///
    /// # Errors
    /// If nobody hears it.
    pub(super) async fn hand(&self, word: &Word, what: BorrowedFd<'_>) -> io::Result<()> {
        self.send(word, &[what]).await
    }

    /// The next word that we know, and what goes with it; none when the other has ended.
    ///
    /// # Errors
    /// What the system said.
    pub(super) async fn hear(&self) -> io::Result<Option<(Word, Option<OwnedFd>)>> {
        loop {
            let heard = self.0.async_io(Interest::READABLE, || receive(&self.0)).await;
            // The other has ended without hearing us out. The system tells that once, before what it said last.
            if heard.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset) {
                continue;
            }
            let (message, descriptor) = heard?;
            if message.is_empty() {
                return Ok(None);
            }
            match serde_json::from_slice(&message) {
                Ok(word) => return Ok(Some((word, descriptor))),
                // Another version may have more to say.
                Err(error) => tracing::debug!(%error, "a word that is not known"),
            }
        }
    }

    /// It is no stream, but the runtime has no other name for a socket without one, and reads and writes are ours.
    fn registered(end: OwnedFd) -> io::Result<Self> {
        let end = std::os::unix::net::UnixStream::from(end);
        end.set_nonblocking(true)?;
        Ok(Self(UnixStream::from_std(end)?))
    }

    async fn send(&self, word: &Word, what: &[BorrowedFd<'_>]) -> io::Result<()> {
        let message = serde_json::to_vec(word)?;
        self.0
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut along = SendAncillaryBuffer::new(&mut space);
                if !what.is_empty() && !along.push(SendAncillaryMessage::ScmRights(what)) {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                let message = [IoSlice::new(&message)];
                Ok(rustix::net::sendmsg(&self.0, &message, &mut along, SendFlags::NOSIGNAL).map(drop)?)
            })
            .await
    }
}

/// One message; an empty one at the end.
fn receive(end: &impl AsFd) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut message = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut message)];
    let received = rustix::net::recvmsg(end, &mut into, &mut along, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = along.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    message.truncate(received.bytes);
    Ok((message, descriptor))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::super::sockets::Purpose;
    use super::*;

    #[tokio::test]
    async fn words_and_descriptors_arrive_as_they_were_said() {
        let (old, end) = Talk::pair().unwrap();
        let new = Talk::over(end).unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        let label = Label { purpose: Purpose::Listen, place: "127.0.0.1:0".to_owned(), is_activated: true };
        old.hand(&Word::Socket(label.clone()), far.as_fd()).await.unwrap();
        old.say(&Word::Invalidate { key: "x".repeat(100_000) }).await.unwrap();
        drop((old, far));
        let (word, descriptor) = new.hear().await.unwrap().unwrap();
        assert_eq!(word, Word::Socket(label));
        UnixStream::from(descriptor.unwrap()).write_all(b"hello").unwrap();
        let mut said = String::new();
        near.read_to_string(&mut said).unwrap();
        assert_eq!(said, "hello");
        let (word, descriptor) = new.hear().await.unwrap().unwrap();
        assert!(matches!(word, Word::Invalidate { key } if key.len() == 100_000) && descriptor.is_none());
        assert!(new.hear().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_last_words_of_one_who_does_not_listen_are_heard() {
        let (old, end) = Talk::pair().unwrap();
        let new = Talk::over(end).unwrap();
        new.say(&Word::Portion(1)).await.unwrap();
        old.say(&Word::Users(1)).await.unwrap();
        drop(old);
        assert_eq!(new.hear().await.unwrap().unwrap().0, Word::Users(1));
        assert!(new.hear().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn other_descriptors_are_no_talk() {
        assert!(Talk::over(UnixStream::pair().unwrap().0.into()).is_err());
        assert!(Talk::over(std::fs::File::open("/dev/null").unwrap().into()).is_err());
    }
}
