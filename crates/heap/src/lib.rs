//! Gives memory that was freed back to the system. It holds the only `unsafe` of the workspace, one call of one function
//! of the C library (docs/decisions/0012-memory-comes-back.md), and decides nothing: when to call it is the program's.

/// Whether [`give_back`] does anything here: with glibc's allocator it does; others, such as musl's, have no such
/// function.
pub const CAN_GIVE_BACK: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

/// Gives all whole pages of the heap that hold nothing back to the system, wherever in the heap they are. Takes a
/// millisecond for about 10 MB of them, in which other threads may have to wait when they allocate.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no safe function does it; the proof stands at the call")]
pub fn give_back() {
    // SAFETY: malloc_trim(3) takes a number and returns one; no pointer goes in or out, and there is nothing the caller
    // has to have done before. Its manual marks it MT-Safe: it takes the lock of each arena in turn, as malloc does, so
    // it may run on any thread beside any allocation. It releases pages in which every byte is free to the allocator, so
    // no value of Rust's, which lives in memory that is allocated, changes or moves. That holds whether or not glibc is
    // the global allocator: if it is not, its heap has nothing to release.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Does nothing: this allocator has no such function.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}

#[cfg(test)]
mod tests {
    /// Resident memory that is no file's, in bytes.
    fn held() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    #[test]
    fn what_was_freed_between_what_is_held_goes_back() {
        if !super::CAN_GIVE_BACK {
            return;
        }
        let mut blocks: Vec<Option<Vec<u8>>> =
            (0..4_000_u16).map(|n| Some(vec![n.to_le_bytes()[0]; 20_000])).collect();
        for block in blocks.iter_mut().skip(1).step_by(2) {
            *block = None;
        }
        let before = held();
        super::give_back();
        let given = before.saturating_sub(held());
        assert!(given > 20_000_000, "{given} of 40 MB");
        let kept = blocks.iter().enumerate().filter_map(|(n, block)| Some((n, block.as_ref()?)));
        for (number, block) in kept {
            assert!(block.iter().all(|byte| *byte == number.to_le_bytes()[0]), "block {number}");
        }
    }
}
