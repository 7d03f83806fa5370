//! What counting an exchange costs when it is over, alone and with all cores at it.

use bentpipe::bench::Counting;
use divan::Bencher;

fn main() {
    divan::main();
}

#[divan::bench(args = [true, false], threads = [1, 2])]
fn count_a_hit(bencher: Bencher<'_, '_>, is_hit: bool) {
    let counting = Counting::new(is_hit);
    bencher.bench(|| counting.count());
}
