//! The class on the link that an operator chose for one exchange, and what carries it at the moment. Who stands where is
//! `standing`'s to say, which looks here.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linkio::Class;

/// The class that an operator chose, in place of what the rules say; none to begin with. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen(Arc<AtomicU8>);

impl Chosen {
    /// The class, if one was chosen.
    pub(crate) fn class(&self) -> Option<Class> {
        let place = usize::from(self.0.load(Ordering::Acquire)).checked_sub(1)?;
        Class::ALL.get(place).copied()
    }

    fn choose(&self, class: Option<Class>) {
        let place = class.map_or(0, |class| class.index() + 1);
        self.0.store(u8::try_from(place).unwrap_or(0), Ordering::Release);
    }
}

/// What carries an exchange across the link, and knows where it stands.
pub(crate) trait Carried: Send + Sync {
    /// Its class now.
    fn class(&self) -> Class;

    /// Puts it where it belongs, which is somewhere else now.
    fn reassign(&self);
}

/// Both, of one exchange.
#[derive(Default)]
pub(super) struct Placed {
    pub(super) chosen: Chosen,
    carried: Mutex<Option<Arc<dyn Carried>>>,
}

impl Placed {
    pub(super) fn carried_by(&self, carried: Option<Arc<dyn Carried>>) {
        // What it was before goes when the lock is given back: it may be the last hold on a connection.
        let before = std::mem::replace(&mut *self.lock(), carried);
        drop(before);
    }

    pub(super) fn class(&self) -> Option<Class> {
        let carried = self.lock().clone();
        carried.map(|carried| carried.class())
    }

    pub(super) fn choose(&self, class: Option<Class>) -> bool {
        self.chosen.choose(class);
        let carried = self.lock().clone();
        carried.inspect(|carried| carried.reassign()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn Carried>>> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_can_be_chosen_and_given_back() {
        let placed = Placed::default();
        for class in Class::ALL {
            assert!(!placed.choose(Some(class)), "nothing carries it");
            assert_eq!(placed.chosen.clone().class(), Some(class));
        }
        placed.choose(None);
        assert_eq!((placed.chosen.class(), placed.class()), (None, None));
    }
}
