//! Fuzz targets for everything that reads what a peer, a file or a user wrote. Each is a test in `tests/`:
//! `cargo test -p fuzz` runs its corpus and a bounded number of random inputs; `cargo bolero test -p fuzz NAME`
//! goes on for as long as it is let.
//!
//! There is no code here: a target belongs to the crate it tests, and may use only what that crate exports; `hello` reads
//! in one file of the program, which exports nothing of it.
