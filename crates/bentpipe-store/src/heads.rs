//! Heads of stored responses that were unpacked of late: what is asked for again and again is not unpacked each time.
//!
//! Owns a bounded number of them and decides nothing: whatever is not here, or has given way to another, is unpacked anew.
//! A head never changes, so one that is here is right as long as its packed form is the present one.

use std::sync::{Arc, Mutex};

use rfc9111::StoredResponse;

use crate::head::Packed;

/// Places for heads, a power of two. At some 2 KiB each they take a megabyte.
const PLACES: usize = 512;

/// Heads, each in the place that the address of its packed form leads to.
pub(crate) struct Heads(Box<[Mutex<Option<Unpacked>>]>);

struct Unpacked {
    packed: Packed,
    head: Arc<StoredResponse>,
}

impl Heads {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self((0..PLACES).map(|_| Mutex::default()).collect())
    }

    /// The head that is `packed`; `None` when that makes no sense.
    pub(crate) fn unpack(&self, packed: &Packed) -> Option<Arc<StoredResponse>> {
        // Who finds the place taken does not wait: unpacking is as quick.
        let mut place = self.place(packed).and_then(|place| place.try_lock().ok());
        let kept = place.as_deref().and_then(Option::as_ref).filter(|kept| kept.packed.is_same(packed));
        if let Some(kept) = kept {
            return Some(Arc::clone(&kept.head));
        }
        let head = Arc::new(packed.unpack()?);
        if let Some(place) = &mut place {
            **place = Some(Unpacked { packed: packed.clone(), head: Arc::clone(&head) });
        }
        Some(head)
    }

    fn place(&self, packed: &Packed) -> Option<&Mutex<Option<Unpacked>>> {
        // Addresses differ in their middle; a multiplication brings that to the top (Knuth, Fibonacci hashing).
        let spread = (packed.address() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0.get((spread >> (u64::BITS - PLACES.trailing_zeros())) as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::head::any_head;

    #[test]
    fn what_is_no_head_is_none() {
        assert!(Heads::new().unpack(&Packed::from_bytes(b"")).is_none());
    }

    proptest! {
        #[test]
        fn each_head_is_its_own_however_many_there_are(heads in prop::collection::vec(any_head(), 1..20)) {
            let memory = Heads::new();
            let packed: Vec<_> = heads.iter().map(Packed::new).collect();
            for _ in 0..2 {
                for (packed, head) in packed.iter().zip(&heads) {
                    let unpacked = memory.unpack(packed).unwrap();
                    prop_assert_eq!(&*unpacked, head);
                }
            }
            // The first is there, unless it had to give way to another.
            let place = memory.place(&packed[0]).unwrap().lock().unwrap();
            prop_assert!(place.is_some());
        }

        #[test]
        fn a_head_is_unpacked_once(head in any_head()) {
            let (memory, packed) = (Heads::new(), Packed::new(&head));
            let [first, second] = [(); 2].map(|()| memory.unpack(&packed).unwrap());
            prop_assert!(Arc::ptr_eq(&first, &second));
        }
    }
}
