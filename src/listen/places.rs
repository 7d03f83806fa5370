//! How many client connections may be open at the same moment, also when that number changes: places that are added are
//! there at once, and places that are taken away go as their connections end.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// Places for connections.
pub(crate) struct Places {
    semaphore: Arc<Semaphore>,
    number: Mutex<usize>,
}

impl Places {
    pub(crate) fn new(number: usize) -> Self {
        Self { semaphore: Arc::new(Semaphore::new(number)), number: Mutex::new(number) }
    }

    /// Where they are taken.
    pub(crate) fn semaphore(&self) -> &Arc<Semaphore> {
        &self.semaphore
    }

    /// There are to be so many from now on. Must be called within a runtime.
    pub(crate) fn resize(&self, number: usize) {
        let before =
            std::mem::replace(&mut *self.number.lock().unwrap_or_else(PoisonError::into_inner), number);
        if number >= before {
            return self.semaphore.add_permits(number - before);
        }
        let mut surplus = before - number;
        surplus -= self.semaphore.forget_permits(surplus);
        if surplus > 0 {
            tokio::spawn(forget(self.semaphore.clone(), surplus));
        }
    }
}

/// Takes `number` places away as they come free, one after the other: before those who began to wait later, since the
/// semaphore is first come, first served.
async fn forget(semaphore: Arc<Semaphore>, number: usize) {
    for _ in 0..number {
        let Ok(permit) = semaphore.acquire().await else { return };
        permit.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_come_and_go() {
        let places = Places::new(2);
        let free = || places.semaphore().available_permits();
        let held = places.semaphore().clone().acquire_many_owned(2).await.expect("places");
        places.resize(1);
        places.resize(3);
        // One was to go and two have come.
        while free() != 1 {
            tokio::task::yield_now().await;
        }
        drop(held);
        while free() != 3 {
            tokio::task::yield_now().await;
        }
        places.resize(0);
        assert_eq!(free(), 0);
        places.resize(5);
        assert_eq!(free(), 5);
    }
}
