//! The bounded queue between the traffic and whoever writes it down. Who puts something in never waits: what has no room
//! is refused, and the one who puts it in counts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};

use super::frame::Frame;

/// The end that is put into.
pub(crate) struct Queue {
    sender: Sender<Frame>,
    held: Arc<AtomicUsize>,
    most: usize,
}

/// The end that is taken from, by one thread.
pub(crate) struct Frames {
    receiver: Receiver<Frame>,
    held: Arc<AtomicUsize>,
}

impl Queue {
    /// A queue of at most `most` bytes, both ends of it.
    pub(crate) fn new(most: usize) -> (Self, Frames) {
        let (sender, receiver) = mpsc::channel();
        let held = Arc::new(AtomicUsize::new(0));
        (Self { sender, held: held.clone(), most }, Frames { receiver, held })
    }

    /// Puts `frame` in; gives it back where there is no room or nobody is left to take it.
    pub(crate) fn put(&self, frame: Frame) -> Result<(), Frame> {
        self.put_within(frame, self.most)
    }

    /// As `put`, for what is rare and small and matters more: it may be a little beyond what is held.
    pub(crate) fn put_first(&self, frame: Frame) -> Result<(), Frame> {
        self.put_within(frame, self.most + RESERVE)
    }

    /// Puts in what comes once, whatever is held.
    pub(crate) fn put_last(&self, frame: Frame) {
        let _ = self.put_within(frame, usize::MAX);
    }

    /// Whether there is room for `payload` more, and for a few words before it.
    pub(crate) fn has_room(&self, payload: &[u8]) -> bool {
        self.held.load(Ordering::Relaxed).saturating_add(payload.len() + WORDS) <= self.most
    }

    fn put_within(&self, frame: Frame, most: usize) -> Result<(), Frame> {
        let cost = frame.cost();
        if self.held.fetch_add(cost, Ordering::Relaxed).saturating_add(cost) > most {
            self.held.fetch_sub(cost, Ordering::Relaxed);
            return Err(frame);
        }
        self.sender.send(frame).map_err(|refused| {
            self.held.fetch_sub(cost, Ordering::Relaxed);
            refused.0
        })
    }
}

/// Bytes of the counts of what was lost, and of what a frame takes besides its payload.
const WORDS: usize = 1024;

/// Bytes beyond the limit for beginnings, ends and counts of what was lost.
const RESERVE: usize = 1024 * 1024;

impl Frames {
    /// The next frame, once there is one; none when nobody can put one in any more.
    pub(crate) fn next(&self) -> Option<Frame> {
        self.taken(self.receiver.recv().ok())
    }

    /// The next frame, if there is one now.
    pub(crate) fn next_now(&self) -> Result<Option<Frame>, Gone> {
        match self.receiver.try_recv() {
            Ok(frame) => Ok(self.taken(Some(frame))),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Gone),
        }
    }

    fn taken(&self, frame: Option<Frame>) -> Option<Frame> {
        frame.inspect(|frame| {
            self.held.fetch_sub(frame.cost(), Ordering::Relaxed);
        })
    }
}

/// Nobody can put anything in any more.
#[derive(Debug)]
pub(crate) struct Gone;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::frame::Kind;
    use super::*;

    fn frame(length: usize) -> Frame {
        Frame { kind: Kind::In, number: 1, at: Duration::ZERO, payload: vec![0; length] }
    }

    #[test]
    fn what_has_no_room_is_given_back_and_room_comes_again() {
        let (queue, frames) = Queue::new(2000);
        assert!(queue.put(frame(1500)).is_ok());
        assert_eq!(queue.put(frame(1500)), Err(frame(1500)));
        assert!(queue.put_first(frame(1500)).is_ok());
        assert_eq!(frames.next().map(|frame| frame.payload.len()), Some(1500));
        assert!(queue.put(frame(1500)).is_err(), "the reserve is still in use");
        assert!(frames.next().is_some());
        assert!(queue.put(frame(1500)).is_ok());
        drop(frames);
        assert!(queue.put(frame(1)).is_err(), "nobody takes it");
    }
}
