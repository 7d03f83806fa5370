//! `Current`: a value that is replaced as a whole while others use it. Whoever asks gets the one of this moment and keeps
//! it as long as it likes; nobody waits.

use std::sync::{Arc, PoisonError, RwLock};

/// What holds now.
#[derive(Debug)]
pub(crate) struct Current<T>(RwLock<Arc<T>>);

impl<T> Current<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The value of this moment.
    pub(crate) fn now(&self) -> Arc<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `value` in its place for all who ask from now on.
    pub(crate) fn set(&self, value: T) {
        let value = Arc::new(value);
        let before = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), value);
        // What its end sets off, if this was the last who held it, is not the lock's business.
        drop(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_value_keeps_it() {
        let current = Current::new(1);
        let before = current.now();
        current.set(2);
        assert_eq!((*before, *current.now()), (1, 2));
    }
}
